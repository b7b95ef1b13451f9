"""The database as the loop of a sink uses it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch


class Sink(Protocol):
    """The database as the loop uses it. It belongs to one thread; its methods may block."""

    name: str

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Takes partitions over and returns where to resume, for those whose position the database itself stores.

        Without partitions, it only finds out whether the database answers.

        Raises:
            Unreachable: the database does not answer now.
        """

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        """Stores the batches durably, together with the positions (next offsets).

        Raises:
            Unreachable: the database does not answer now; nothing is stored, or storing it again changes nothing.
            PositionsMoved: the database is not in the state that this sink left; nothing is stored.
            RefusedCounters: these counters can never be stored; the others can.
            RefusedBatches: these batches can never be stored; the others can.
            Hopeless: one of the rows can never be stored.
        """

    def renew(self) -> None:
        """Forgets everything it remembers of the database and closes its connections; it opens new ones when needed."""
