"""What the writer asks of MySQL and MariaDB: tables, objects, positions, and rows stored together with them."""

from collections.abc import Callable, Iterable, Mapping

from services.mysql_writer.connection import ANSWER_S, Connection
from services.mysql_writer.objects import Objects
from services.mysql_writer.schema import OWN_TABLES, Schema
from services.mysql_writer.settings import Mysql, Rules
from shared.sinks.loop import Place


class Fenced(Exception):  # noqa: N818
    """Another writer owns the partition now; this one must leave."""


class Repository:
    """Two connections, one for rows and one for the schema; one owner. Raises as `Connection` does."""

    def __init__(
        self, settings: Mysql, rules: Callable[[str], Rules] = lambda _: Rules(), answer_s: float = ANSWER_S
    ) -> None:
        """`rules`: of a system, by its name, as they are now."""
        self.connection = Connection(settings, OWN_TABLES, answer_s)
        self.ddl = Connection(settings, OWN_TABLES, answer_s)
        self.rules = rules
        self.schema = Schema(self.ddl, rules)
        self.objects = Objects(self.connection, self.ddl)
        self.epochs: dict[Place, int] = {}

    def take_over(self, places: Iterable[Place]) -> dict[Place, int]:
        """Become the owner of partitions: raise their epochs; their next offsets, 0 for new ones."""
        found = {}
        with self.connection.transaction() as execute:
            for place in places:
                execute(
                    "INSERT INTO pm_position VALUES (%s, %s, 0, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1", place
                )
                ((found[place], self.epochs[place]),) = execute(
                    "SELECT next_offset, epoch FROM pm_position WHERE topic = %s AND `partition` = %s", place
                )
        return found

    def store(self, statements: Iterable[bytes], positions: Mapping[Place, int]) -> None:
        """Rows and positions, all or nothing.

        Raises:
            Fenced: another writer took a partition over.
        """
        with self.connection.transaction() as execute:
            for statement in statements:
                execute(statement)
            for place, next_offset in positions.items():
                moved = execute.changed(
                    "UPDATE pm_position SET next_offset = %s WHERE topic = %s AND `partition` = %s AND epoch = %s",
                    (next_offset, *place, self.epochs[place]),
                )
                if not moved:
                    raise Fenced(f"{place}: epoch {self.epochs[place]} is over")

    def forget(self) -> None:
        """What is known of the schema: somebody changed it under us."""
        self.schema.forget()
        self.objects.columns.clear()

    def close(self) -> None:
        self.connection.close()
        self.ddl.close()
