"""Stores rows in MySQL or MariaDB together with the positions of their messages, in one transaction."""

from collections.abc import Callable, Iterable, Mapping

from services.mysql_writer.connection import STATEMENT_TIMEOUT_S, Connection
from services.mysql_writer.ddl import OWN_TABLES
from services.mysql_writer.objects import OBJECTS_IN_MEMORY, Objects
from services.mysql_writer.schema import Schema
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.views import GroupViews
from shared.errors import MustExit
from shared.kafka.record import TopicPartition


class Fenced(MustExit):
    """Another writer owns the partition now; this one must exit."""


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
        self.views = GroupViews(self.ddl)
        self.objects = Objects(self.connection, self.ddl, objects_in_memory)
        self.epochs: dict[TopicPartition, int] = {}

    def take_over(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Becomes the owner of partitions by raising their epochs; returns their next offsets, 0 for new partitions."""
        found = {}
        with self.connection.transaction() as execute:
            for partition in partitions:
                execute(
                    "INSERT INTO pm_position VALUES (%s, %s, 0, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1", partition
                )
                ((found[partition], self.epochs[partition]),) = execute(
                    "SELECT next_offset, epoch FROM pm_position WHERE topic = %s AND `partition` = %s", partition
                )
        return found

    def store(self, statements: Iterable[bytes], positions: Mapping[TopicPartition, int]) -> None:
        """Stores rows and positions, all or nothing.

        Raises:
            Fenced: another writer took over one of the partitions.
        """
        with self.connection.transaction() as execute:
            for statement in statements:
                execute(statement)
            for partition, next_offset in positions.items():
                moved = execute.matched(
                    "UPDATE pm_position SET next_offset = %s WHERE topic = %s AND `partition` = %s AND epoch = %s",
                    (next_offset, *partition, self.epochs[partition]),
                )
                if not moved:
                    raise Fenced(f"{partition}: epoch {self.epochs[partition]} is no longer current")

    def forget(self) -> None:
        """Forgets the schema, as another process changed it."""
        self.schema.forget()
        self.views.forget()
        self.objects.forget()

    def renew(self) -> None:
        """Forgets everything it remembers of the database, and closes the connections until they are needed."""
        self.forget()
        self.close()

    def close(self) -> None:
        self.connection.close()
        self.ddl.close()
