"""Fair shares: what each topic may use of a write, and the records that wait in memory for their turn. Pure."""

from collections import Counter, deque
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from shared.kafka.record import Record, TopicPartition

READ_AHEAD_BYTES = 32 << 20
"""Most bytes of records that wait in memory, all topics together; the last poll of each topic may exceed it."""
RECORD_BYTES = 500
"""Memory of a record besides its key and value."""


@dataclass(slots=True)
class Shares:
    """The parts of one write that the topics use; a topic's share is the write divided by the topics with messages."""

    most_rows: int
    most_bytes: int
    used: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Topic -> rows and bytes."""

    def use(self, topic: str, rows: int, size: int) -> None:
        used = self.used.get(topic, (0, 0))
        self.used[topic] = used[0] + rows, used[1] + size

    def part(self, topic: str) -> float:
        """Returns the part of the write that a topic uses, by rows or bytes, whichever is more."""
        rows, size = self.used.get(topic, (0, 0))
        return max(rows / self.most_rows, size / self.most_bytes)

    def below(self, topics: Iterable[str], sharing: int) -> list[str]:
        """Returns the topics that use less than their share, if so many topics share the write; least used first."""
        return sorted((topic for topic in topics if self.part(topic) * sharing < 1), key=self.part)

    @property
    def is_full(self) -> bool:
        rows, sizes = (sum(used[of] for used in self.used.values()) for of in (0, 1))
        return rows >= self.most_rows or sizes >= self.most_bytes


@dataclass
class ReadAhead:
    """Records that were read and are in no write yet: a queue per topic, so that no topic waits behind another."""

    most_bytes: int = READ_AHEAD_BYTES
    queues: dict[str, deque[Record]] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    counts: Counter[TopicPartition] = field(default_factory=Counter)
    stopped: AbstractSet[str] = frozenset()
    """Topics that should not be read further."""

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            self.queues.setdefault(record.topic, deque()).append(record)
            self.sizes[record.topic] += memory_of(record)
            self.counts[record.topic_partition] += 1

    def take(self, topic: str) -> Record:
        """Removes and returns the record of a topic that came first."""
        record = self.queues[topic].popleft()
        self._removed([record])
        return record

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Removes the records of partitions that another sink reads from now on, or that are read again."""
        for topic in {partition.topic for partition in partitions} & self.queues.keys():
            queue = self.queues[topic]
            self.queues[topic] = deque(record for record in queue if record.topic_partition not in partitions)
            self._removed([record for record in queue if record.topic_partition in partitions])

    def topics_to_stop(self, sharing: int) -> AbstractSet[str]:
        """Returns the topics that use up their part of the memory, if so many topics share it; all if it is used up.

        A topic that was stopped goes on when it uses half of its part, as stopping throws away what Kafka's client has
        fetched.
        """
        part = self.most_bytes / max(1, sharing) if self.sizes.total() < self.most_bytes else 0
        self.stopped = {
            topic for topic, size in self.sizes.items() if size >= (part / 2 if topic in self.stopped else part)
        }
        return self.stopped

    def _removed(self, records: Collection[Record]) -> None:
        for record in records:
            self.sizes[record.topic] -= memory_of(record)
            self.counts[record.topic_partition] -= 1
            if not self.counts[record.topic_partition]:
                del self.counts[record.topic_partition]
        for topic in {record.topic for record in records}:
            if not self.queues[topic]:
                del self.queues[topic], self.sizes[topic]


def memory_of(record: Record) -> int:
    """Returns roughly how many bytes of memory a record takes."""
    return len(record.key) + len(record.value or b"") + RECORD_BYTES
