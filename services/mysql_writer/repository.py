"""What the writer asks of MySQL and MariaDB: tables, objects, positions, and rows stored together with them."""

from collections.abc import Callable, Iterable, Mapping

from services.mysql_writer.connection import ANSWER_S, Connection
from services.mysql_writer.objects import Objects
from services.mysql_writer.schema import OWN_TABLES, Schema
from services.mysql_writer.settings import Mysql, Rules
from shared.kafka.record import TopicPartition


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
        self.epochs: dict[TopicPartition, int] = {}

    def take_over(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Become the owner of partitions: raise their epochs; their next offsets, 0 for new ones."""
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
        """Rows and positions, all or nothing.

        Raises:
            Fenced: another writer took a partition over.
        """
        with self.connection.transaction() as execute:
            for statement in statements:
                execute(statement)
            for partition, next_offset in positions.items():
                moved = execute.changed(
                    "UPDATE pm_position SET next_offset = %s WHERE topic = %s AND `partition` = %s AND epoch = %s",
                    (next_offset, *partition, self.epochs[partition]),
                )
                if not moved:
                    raise Fenced(f"{partition}: epoch {self.epochs[partition]} is over")

    def forget(self) -> None:
        """What is known of the schema: somebody changed it under us."""
        self.schema.forget()
        self.objects.columns.clear()

    def close(self) -> None:
        self.connection.close()
        self.ddl.close()
