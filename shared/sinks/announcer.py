"""Announces the durable positions of a sink to the ledger, where they complete files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic

from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import TopicPartition
from shared.ledger import OffsetGap
from shared.messages import SinkPosition
from shared.topics import FILES_STATUS


@dataclass
class Announcer:
    """Writes the positions and gaps of one sink to the ledger, durably."""

    sink: str
    producer: Producer
    every_s: float
    moved: set[TopicPartition] = field(default_factory=set)
    """Partitions whose position is not announced yet."""
    next_s: float = 0.0

    def announce(self, positions: Mapping[TopicPartition, int]) -> None:
        """Announces the positions that moved, at most every `every_s`."""
        if not self.moved or monotonic() < self.next_s:
            return
        self.next_s = monotonic() + self.every_s
        announced = set(self.moved)
        self.producer.deliver(*(self._record(at, positions[at]) for at in announced))
        self.moved -= announced

    def publish_gap(self, gap: OffsetGap) -> None:
        self.producer.deliver(Outgoing(FILES_STATUS.name, gap.partition, gap.key, gap.encode()))

    def _record(self, at: TopicPartition, next_offset: int) -> Outgoing:
        """Returns the position's record; it goes to the ledger partition that holds the files it completes."""
        topic, partition = at
        position = SinkPosition(sink=self.sink, topic=topic, partition=partition, next_offset=next_offset)
        return Outgoing(FILES_STATUS.name, partition, f"{self.sink}/{topic}/{partition}", position.encode())
