"""Reads the partitions that one sink owns, and stops reading single topics."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from time import monotonic, time

from shared.kafka.consume import Consumer
from shared.kafka.record import Record, TopicPartition
from shared.sinks import metrics
from shared.sinks.gaps import GapWatch


@dataclass
class OwnedPartitions:
    """The partitions that a sink reads. See `shared.sinks.gather.TopicSource`."""

    consumer: Consumer
    gaps: GapWatch
    partitions: set[TopicPartition] = field(default_factory=set)
    stopped: set[TopicPartition] = field(default_factory=set)
    """Partitions of topics that are read no further at present."""
    taken_s: dict[TopicPartition, float] = field(default_factory=dict)
    """Time at which the newest message that was taken into a write was sent, by partition."""
    polled_s: float = field(default_factory=monotonic)

    def read(self, most: int, timeout_s: float) -> Sequence[Record]:
        """Returns records; not those that come with the poll in which their partition moves away."""
        records = self.consumer.poll(most, timeout_s)
        self.polled_s = monotonic()
        self.gaps.check(records)
        return [record for record in records if record.topic_partition in self.partitions]

    def wait(self, wait_s: float) -> None:
        """Reads nothing for this time but stays in the group."""
        self.consumer.wait_paused(wait_s)
        self.polled_s = monotonic()

    def unread(self) -> Counter[str]:
        """Returns how many records each topic has left to read, by the last response of the broker."""
        found: Counter[str] = Counter()
        for at in self.partitions:
            if left := self.consumer.lag(at, self.gaps.contiguity.expected.get(at, -1)):
                found[at.topic] += left
        return found

    def stop_reading(self, topics: AbstractSet[str]) -> None:
        stopped = {at for at in self.partitions if at.topic in topics}
        if more := stopped - self.stopped:
            self.consumer.pause(sorted(more))
        if fewer := self.stopped - stopped:
            self.consumer.resume(sorted(fewer))
        self.stopped = stopped

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets partitions that are no longer owned."""
        self.partitions.difference_update(partitions)
        self.stopped.difference_update(partitions)

    def count_lag(self, sink: str, positions: Mapping[TopicPartition, int], held_back: Counter[TopicPartition]) -> None:
        """Sets the gauges of each partition, by the positions that are durable and the messages held in memory."""
        for at in self.partitions:
            behind = self.consumer.lag(at, positions[at])
            behind_s = time() - self.taken_s[at] if behind and at in self.taken_s else 0.0
            metrics.LAG.labels(sink, *at).set(behind)
            metrics.BEHIND.labels(sink, *at).set(behind_s)
            metrics.HELD_MESSAGES.labels(sink, *at).set(held_back[at])
