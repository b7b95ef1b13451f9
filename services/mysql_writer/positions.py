"""The positions in pm_position, each with the epoch of its owner, as one writer knows them.

A position moves only from the offset that the writer last saw there. Another value means that the database is not in
the state that this writer left: a replica without the last commits took over, a backup was restored, or a commit whose
answer was lost took effect.
"""

from collections.abc import Iterable, Mapping

from services.mysql_writer.connection import Execute
from shared.errors import MustExit
from shared.kafka.record import TopicPartition


class Fenced(MustExit):
    """Another writer owns the partition now; this one must exit."""


class NotWhereLeft(Exception):  # noqa: N818
    """A position in the database is not where this writer left it, or has another epoch."""


class Positions:
    """The positions that one writer owns. All methods that execute statements raise as `Connection` does."""

    def __init__(self) -> None:
        self.next_offsets: dict[TopicPartition, int] = {}
        """Owned partition -> its position in the database."""
        self.epochs: dict[TopicPartition, int] = {}
        """Partition -> the highest epoch under which this writer has owned it."""

    def take_over(self, partitions: Iterable[TopicPartition], execute: Execute) -> dict[TopicPartition, int]:
        """Raises the epochs of partitions, also beyond epochs that a failover lost; returns their next offsets."""
        found = {}
        for partition in partitions:
            execute(
                "INSERT INTO pm_position VALUES (%s, %s, 0, %s) "
                "ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch + 1, VALUES(epoch))",
                (*partition, self.epochs.get(partition, 0) + 1),
            )
            ((found[partition], self.epochs[partition]),) = execute(
                "SELECT next_offset, epoch FROM pm_position WHERE topic = %s AND `partition` = %s", partition
            )
        return found

    def owned(self, positions: Mapping[TopicPartition, int]) -> None:
        """Takes positions as committed."""
        self.next_offsets |= positions

    def advance(self, positions: Mapping[TopicPartition, int], execute: Execute) -> None:
        """Moves positions within the transaction of their rows.

        Raises:
            NotWhereLeft: the transaction must be rolled back; `moved` finds out why.
        """
        for partition, next_offset in positions.items():
            expected, epoch = self.next_offsets.get(partition), self.epochs.get(partition)
            if expected is None or not execute.matched(
                "UPDATE pm_position SET next_offset = %s "
                "WHERE topic = %s AND `partition` = %s AND epoch = %s AND next_offset = %s",
                (next_offset, *partition, epoch, expected),
            ):
                raise NotWhereLeft(f"{partition.topic}/{partition.partition}: not at {expected} in epoch {epoch}")

    def moved(self, execute: Execute) -> dict[TopicPartition, tuple[int, int]]:
        """Returns the owned positions that are not where this writer left them, with that offset and the present one.

        They are no longer owned, and so are those that another writer took over.
        """
        stored = {
            TopicPartition(topic, partition): (next_offset, epoch)
            for topic, partition, next_offset, epoch in execute(
                "SELECT topic, `partition`, next_offset, epoch FROM pm_position"
            )
        }
        moved = {}
        for partition, expected in list(self.next_offsets.items()):
            next_offset, epoch = stored.get(partition, (0, 0))
            if (next_offset, epoch) == (expected, self.epochs[partition]):
                continue
            del self.next_offsets[partition]
            if epoch <= self.epochs[partition]:  # else another writer owns it
                moved[partition] = expected, next_offset
        return moved
