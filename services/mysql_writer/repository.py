"""Stores rows in MySQL or MariaDB together with the positions of their messages, in one transaction."""

from collections.abc import Callable, Iterable, Mapping

from services.mysql_writer.connection import STATEMENT_TIMEOUT_S, Connection
from services.mysql_writer.ddl import OWN_TABLES
from services.mysql_writer.object_cache import OBJECTS_IN_MEMORY
from services.mysql_writer.objects import Objects
from services.mysql_writer.positions import Fenced, NotWhereLeft, Positions
from services.mysql_writer.schema import Schema
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.views import GroupViews
from shared.kafka.record import TopicPartition
from shared.sinks.failures import StaleSchema
from shared.sinks.positions import PositionsMoved


class Repository:
    """Has two connections, one for rows and one for DDL. It belongs to one thread. Raises as `Connection` does."""

    def __init__(
        self,
        settings: Mysql,
        rules: Callable[[str], MysqlRules] = lambda _: MysqlRules(),
        timeout_s: float = STATEMENT_TIMEOUT_S,
        objects_in_memory: int = OBJECTS_IN_MEMORY,
    ) -> None:
        """Opens nothing yet.

        Args:
            settings: the server.
            rules: returns the current rules of a system, by its name.
            timeout_s: longest wait for an answer.
            objects_in_memory: see `MysqlWriterSettings`.
        """
        self.connection = Connection(settings, OWN_TABLES, timeout_s)
        self.ddl = Connection(settings, OWN_TABLES, timeout_s)
        self.rules = rules
        self.schema = Schema(self.ddl, rules)
        self.views = GroupViews(Connection(settings, OWN_TABLES, timeout_s))
        self.objects = Objects(self.connection, self.ddl, objects_in_memory)
        self.positions = Positions()
        self.known_by: tuple[int, int] | None = None
        """The connections' generations under which everything in memory was read."""

    def take_over(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Becomes the owner of partitions by raising their epochs; returns their next offsets, 0 for new partitions."""
        with self.connection.transaction() as execute:
            found = self.positions.take_over(partitions, execute)
        self.positions.owned(found)
        return found

    def refresh(self) -> None:
        """Reads everything in memory again if a connection is new, as another server may answer it.

        Raises:
            PositionsMoved: the database has other positions than this writer left there.
        """
        self._open()
        if self._generations() != self.known_by:
            self._read_again()

    def store(self, statements: Iterable[bytes], positions: Mapping[TopicPartition, int]) -> None:
        """Stores rows and positions, all or nothing.

        Raises:
            Fenced: another writer took over one of the partitions.
            PositionsMoved: the database has other positions than this writer left there.
        """
        try:
            with self.connection.transaction() as execute:
                if self.known_by not in (None, self._generations()):
                    raise StaleSchema("the connection was lost after the statements were prepared")
                for statement in statements:
                    execute(statement)
                self.positions.advance(positions, execute)
        except NotWhereLeft as error:
            self._read_again()
            raise Fenced(str(error)) from error
        self.positions.owned(positions)

    def forget(self) -> None:
        """Forgets tables, columns and object numbers, as another process changed them."""
        self.schema.forget()
        self.views.forget()
        self.objects.forget()

    def _read_again(self) -> None:
        """Opens both connections anew, as a proxy may have led them to different servers, and compares positions."""
        if self.known_by is not None:
            self.close()
            self.forget()
        self._open()
        with self.connection.transaction() as execute:
            moved = self.positions.moved(execute)
        self.known_by = self._generations()
        if moved:
            raise PositionsMoved(moved)

    def _open(self) -> None:
        """Opens the connections that were lost, as BEGIN does."""
        for connection in (self.connection, self.ddl):
            with connection.transaction():
                pass

    def _generations(self) -> tuple[int, int]:
        return self.connection.generation, self.ddl.generation

    def renew(self) -> None:
        """Forgets everything it remembers of the database, and closes the connections until they are needed."""
        self.forget()
        self.close()

    def close(self) -> None:
        self.connection.close()
        self.ddl.close()
