"""Topics in memory, and a consumer that reads them as Kafka's client does: one queue for all partitions."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from shared.kafka.produce import Outgoing
from shared.kafka.record import Record, TopicPartition

MOST_POLLS = 100_000
"""A loop that polls more often hangs."""


class Topics:
    """Records by partition, and their only consumer; what it commits is in `committed_offsets`."""

    def __init__(self, per_fetch: int = 1_000, queue_records: int = 1_000) -> None:
        """Creates no partition yet; see `put`.

        Args:
            per_fetch: most records of one partition that come together.
            queue_records: records in the queue from which on nothing is fetched.
        """
        self.per_fetch, self.queue_records = per_fetch, queue_records
        self.logs: dict[TopicPartition, list[Record]] = {}
        self.queue: deque[Record] = deque()
        self.fetched: Counter[TopicPartition] = Counter()
        self.delivered: Counter[TopicPartition] = Counter()
        self.known_ends: Counter[TopicPartition] = Counter()
        self.paused: set[TopicPartition] = set()
        self.committed_offsets: dict[TopicPartition, int] = {}
        self.thrown_away = 0
        """Records that were fetched and must be fetched again."""
        self.polls = 0
        self.waited: list[float] = []
        self.on_poll: Callable[[], None] = lambda: None
        self.on_assign: Callable[[Sequence[TopicPartition]], None] = lambda _: None
        self.on_revoke: Callable[[Sequence[TopicPartition]], None] = lambda _: None

    def put(self, topic: str, partition: int, values: Iterable[bytes | None]) -> None:
        log = self.logs.setdefault(TopicPartition(topic, partition), [])
        log += [Record(topic, partition, len(log) + n, b"e", value, 1.0) for n, value in enumerate(values)]

    def subscribe(
        self,
        _topics: Sequence[str],
        on_assign: Callable[[Sequence[TopicPartition]], None] = lambda _: None,
        on_revoke: Callable[[Sequence[TopicPartition]], None] = lambda _: None,
    ) -> None:
        self.on_assign, self.on_revoke = on_assign, on_revoke
        on_assign(list(self.logs))

    def revoke(self, *partitions: TopicPartition) -> None:
        """Takes partitions away and assigns them again, as two rebalances do."""
        self.pause(partitions)
        self.on_revoke(partitions)
        for at in partitions:
            self.fetched[at] = self.delivered[at] = self.committed_offsets.get(at, 0)
        self.on_assign(partitions)

    def poll(self, most: int, _timeout_s: float) -> list[Record]:
        self.polls += 1
        assert self.polls < MOST_POLLS
        if len(self.queue) < self.queue_records:
            self._fetch()
        found = [self.queue.popleft() for _ in range(min(most, len(self.queue)))]
        for record in found:
            self.delivered[record.topic_partition] = record.offset + 1
        self.on_poll()
        return found

    def _fetch(self) -> None:
        for at, log in self.logs.items():
            if at not in self.paused:
                self.known_ends[at] = len(log)
                self.queue += log[self.fetched[at] : self.fetched[at] + self.per_fetch]
                self.fetched[at] = min(len(log), self.fetched[at] + self.per_fetch)

    def wait_paused(self, wait_s: float) -> None:
        self.waited.append(wait_s)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self.paused |= set(partitions)
        left = deque(record for record in self.queue if record.topic_partition not in self.paused)
        self.thrown_away += len(self.queue) - len(left)
        self.queue = left
        for at in partitions:
            self.fetched[at] = self.delivered[at]

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self.paused -= set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.fetched[partition] = self.delivered[partition] = offset

    def lag(self, partition: TopicPartition, next_offset: int) -> int:
        return max(0, self.known_ends[partition] - max(0, next_offset))

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {at: self.committed_offsets.get(at, -1) for at in partitions}

    def range_of(self, partition: TopicPartition) -> tuple[int, int]:
        return 0, len(self.logs[partition])

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.committed_offsets |= offsets

    def close(self) -> None:
        pass

    def by_topic(self) -> dict[str, int]:
        """Returns the number of records of each topic."""
        found: dict[str, int] = defaultdict(int)
        for at, log in self.logs.items():
            found[at.topic] += len(log)
        return found


class SentRecords:
    """A producer that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    def deliver(self, *records: Outgoing) -> None:
        self.sent += records

    def origins_set_aside(self) -> list[str]:
        """Returns the origins of the dead letters."""
        return [one.headers["origin"] for one in self.sent if one.topic.endswith(".dlq")]
