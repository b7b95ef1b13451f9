"""Reads records: as a member of a consumer group, or a whole topic or a range of its offsets without a group."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException

from shared.configuration.kafka import Kafka
from shared.errors import Unreachable
from shared.kafka.reach import LOG_LEVEL, RIGHTS, ClientErrors, explained
from shared.kafka.record import NO_HEADERS, KafkaFailure, Record, TopicPartition
from shared.topics import Topic

log = logging.getLogger(__name__)
SESSION_TIMEOUT_MS = 10_000
"""A killed member's partitions move to another member after this."""
COMMITTED_TIMEOUT_S = 30.0
SILENT_S = 30.0
"""A topic with records left to read that sends nothing for this time counts as unreachable."""
NO_LONGER_OURS = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._STATE,  # noqa: SLF001 - librdkafka's public name for it
    KafkaError._NO_OFFSET,  # noqa: SLF001
}
COORDINATOR_CHANGES = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""Errors while the broker that coordinates a group starts, or another one takes over."""
COORDINATOR_WAIT_S = 0.2
Rebalanced = Callable[[Sequence[TopicPartition]], None]
"""Called with the partitions that were assigned, or that are being revoked."""


class Consumer:
    """A consumer, owned by one thread. The callbacks of `subscribe` run inside `poll`, `wait_paused` and `close`."""

    def __init__(self, brokers: Kafka, group: str, assignor: str = "cooperative-sticky") -> None:
        """Creates a consumer that starts at the committed offset of its group, or at the first offset."""
        self._group = group
        self._errors = ClientErrors(brokers)
        self._client = confluent_kafka.Consumer(
            {
                **brokers.client(),
                "error_cb": self._errors,
                "log_level": LOG_LEVEL,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": assignor,
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "heartbeat.interval.ms": 2_000,
                "fetch.max.bytes": 16 << 20,
                "queued.max.messages.kbytes": 16 << 10,  # per consumer: bounds memory while a sink is slow
            }
        )
        self._paused: set[TopicPartition] = set()
        """Partitions that the caller has paused."""
        self._is_waiting = False
        self._polled: deque[Record] = deque()
        """Records that arrived in `wait_paused`; the next `poll` returns them."""

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Rebalanced = lambda _: None,
        on_revoke: Rebalanced = lambda _: None,
    ) -> None:
        """Joins the group. `on_assign` may pause the new partitions; `on_revoke` is also called for lost partitions."""

        def assigned(_: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
            self._client.incremental_assign(partitions)
            if self._is_waiting:
                self._client.pause(partitions)
            on_assign([TopicPartition(p.topic, p.partition) for p in partitions])

        def revoked(_: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
            gone = [TopicPartition(p.topic, p.partition) for p in partitions]
            self._paused.difference_update(gone)
            self._drop_polled(gone)
            on_revoke(gone)
            self._client.incremental_unassign(partitions)

        self._client.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    def assign(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Reads these partitions from these offsets, outside of any group."""
        self._polled.clear()
        self._client.assign(_with_offsets(offsets))

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        """Returns up to `most` records: as soon as that many arrived, or those that arrived within the time.

        Raises:
            KafkaFailure: a topic does not exist, a right or the login is refused, or the client cannot continue.
        """
        if self._polled:
            return [self._polled.popleft() for _ in range(min(most, len(self._polled)))]
        return self._records_of(self._client.consume(most, timeout_s))

    def poll_newest(self, most: int, timeout_s: float) -> list[Record]:
        """Returns the newest record of each key among the next `most`, for a reader of a compacted topic.

        The others were overtaken. They are not even converted, which makes up most of the time of reading a topic.

        Raises:
            KafkaFailure: see `poll`.
        """
        messages = self._client.consume(most, timeout_s)
        newest: dict[bytes | int, confluent_kafka.Message] = {}
        for number, message in enumerate(messages):
            key = message.key() or number
            newest.pop(key, None)  # so that offsets stay in order
            newest[key] = message
        return self._records_of(newest.values())

    def wait_paused(self, wait_s: float) -> None:
        """Reads nothing for this time but stays in the group: it continues to poll and takes part in rebalances.

        No record is lost: one that is delivered nevertheless is returned by the next `poll`.
        """
        until_s = monotonic() + wait_s
        self._is_waiting = True
        self._client.pause(self._not_paused())
        while (left_s := until_s - monotonic()) > 0:
            self._polled += self._records_of([self._client.poll(left_s)])
        self._is_waiting = False
        self._client.resume(self._not_paused())

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.update(partitions)
        self._client.pause(_plain(partitions))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(partitions)
        self._client.resume(_plain(partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._drop_polled([partition])
        self._client.seek(confluent_kafka.TopicPartition(*partition, offset))

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(p.topic, p.partition) for p in self._client.assignment()]

    def position(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Returns the next offset to read in each partition; negative where nothing has been read yet."""
        return _offsets(self._client.position(_plain(partitions)))

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Returns the group's committed offset in each partition; negative where there is none.

        Raises:
            Unreachable: Kafka did not answer.
        """
        if not partitions:
            return {}
        until_s = monotonic() + COMMITTED_TIMEOUT_S
        while True:
            try:
                return _offsets(self._client.committed(_plain(partitions), timeout=COMMITTED_TIMEOUT_S))
            except KafkaException as error:
                if error.args[0].code() not in COORDINATOR_CHANGES or monotonic() > until_s:
                    raise Unreachable(f"Kafka did not return committed offsets: {error.args[0].str()}") from error
                sleep(COORDINATOR_WAIT_S)

    def lag(self, partition: TopicPartition, next_offset: int) -> int:
        """Returns how many records of an assigned partition are left to read, by the last response of the broker."""
        _, end = self._client.get_watermark_offsets(confluent_kafka.TopicPartition(*partition), cached=True)
        return max(0, int(end) - max(0, next_offset))

    def range_of(self, partition: TopicPartition) -> tuple[int, int]:
        """Returns the first offset of a partition and its end, by a request to the broker.

        Raises:
            Unreachable: Kafka did not answer.
        """
        try:
            found = self._client.get_watermark_offsets(
                confluent_kafka.TopicPartition(*partition), timeout=COMMITTED_TIMEOUT_S
            )
        except KafkaException as error:
            raise Unreachable(f"Kafka did not return the offsets of a partition: {error.args[0].str()}") from error
        if found is None:
            raise Unreachable("Kafka did not return the offsets of a partition in time")
        return found

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commits the offsets to read next. A partition that is no longer assigned is left to its new owner.

        Raises:
            KafkaFailure: Kafka refused the commit for another reason.
        """
        try:
            self._client.commit(offsets=_with_offsets(offsets), asynchronous=False)
        except KafkaException as error:
            reason = error.args[0].str()
            if error.args[0].code() not in NO_LONGER_OURS:
                raise KafkaFailure(f"offsets not committed: {reason}") from error
            log.warning("offsets not committed, their records are read again", extra={"reason": reason})

    def close(self) -> None:
        """Leaves the group, so that other members take over its partitions at once."""
        self._client.close()

    def _records_of(self, messages: Iterable[confluent_kafka.Message | None]) -> list[Record]:
        self._errors.check()
        return records_of(messages, self._explained)

    def _explained(self, error: KafkaError, message: confluent_kafka.Message) -> str:
        is_of_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        return explained(
            self._errors.brokers, error, f"group {self._group}" if is_of_group else f"topic {message.topic()}"
        )

    def _not_paused(self) -> list[confluent_kafka.TopicPartition]:
        return _plain(p for p in self.assignment() if p not in self._paused)

    def _drop_polled(self, partitions: Sequence[TopicPartition]) -> None:
        if self._polled:
            self._polled = deque(r for r in self._polled if r.topic_partition not in partitions)


def records_of(
    messages: Iterable[confluent_kafka.Message | None], explain: Callable[[KafkaError, confluent_kafka.Message], str]
) -> list[Record]:
    """Returns the records that the client delivered; logs errors from which it recovers by itself.

    Raises:
        KafkaFailure: a topic does not exist, a right is refused, or the error is fatal.
    """
    records = []
    for message in messages:
        if message is None:
            continue
        error = message.error()
        if error is None:
            records.append(_record(message))
        elif error.fatal() or error.code() in RIGHTS or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaFailure(explain(error, message))
        else:
            log.warning("kafka client error, recovering", extra={"reason": error.str()})
    return records


def _record(message: confluent_kafka.Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("a record that was read must have a topic, a partition and an offset")
    key, value = message.key() or b"", message.value()
    _, timestamp_ms = message.timestamp()
    return Record(topic, partition, offset, key, value, timestamp_ms / 1000, _headers(message))


def _headers(message: confluent_kafka.Message) -> Mapping[str, str]:
    try:
        pairs: list[tuple[str, bytes | None]] | None = message.headers()  # type: ignore[assignment] # its stub allows more
    except ValueError:  # a name that is not UTF-8
        return NO_HEADERS
    if not pairs:
        return NO_HEADERS
    return {name: text.decode(errors="replace") for name, text in pairs if text is not None}


def _plain(partitions: Iterable[TopicPartition]) -> list[confluent_kafka.TopicPartition]:
    return [confluent_kafka.TopicPartition(*partition) for partition in partitions]


def _with_offsets(offsets: Mapping[TopicPartition, int]) -> list[confluent_kafka.TopicPartition]:
    return [confluent_kafka.TopicPartition(*partition, offset) for partition, offset in offsets.items()]


def _offsets(partitions: Iterable[confluent_kafka.TopicPartition]) -> dict[TopicPartition, int]:
    return {TopicPartition(p.topic, p.partition): p.offset for p in partitions}


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """A part of a topic: the records of each partition from its first offset up to, but not including, its end."""

    topic: Topic
    first: Mapping[int, int]
    ends: Mapping[int, int]

    @property
    def messages(self) -> int:
        return sum(max(0, end - self.first[p]) for p, end in self.ends.items())


def read_range(brokers: Kafka, group: str, part: OffsetRange, most: int) -> Iterator[list[Record]]:
    """Yields all records of a range in lists of up to `most`; commits nothing."""
    reader = Consumer(brokers, group)
    ends = {p: end for p, end in part.ends.items() if part.first[p] < end}
    reader.assign({TopicPartition(part.topic.name, p): part.first[p] for p in ends})
    try:
        for records in read_until(reader, part.topic, ends, most):
            yield [record for record in records if record.offset < ends[record.partition]]
    finally:
        reader.close()


def read_until(reader: Consumer, topic: Topic, ends: Mapping[int, int], most: int = 1000) -> Iterator[list[Record]]:
    """Yields records until the reader has reached the end offset of each partition; some may lie beyond it.

    Raises:
        Unreachable: Kafka has sent nothing for SILENT_S although there is more to read.
    """
    left, until_s = dict(ends), monotonic() + SILENT_S
    while left:
        records = reader.poll(most, 0.5)
        yield records
        positions = reader.position([TopicPartition(topic.name, p) for p in left])
        before, left = (
            left,
            {at.partition: left[at.partition] for at, offset in positions.items() if offset < left[at.partition]},
        )
        if records or len(left) < len(before):
            until_s = monotonic() + SILENT_S
        elif monotonic() > until_s:
            raise Unreachable(f"{topic.name}: nothing read for {SILENT_S:.0f} s although there is more to read")


def follow_all(brokers: Kafka, topic: Topic) -> Consumer:
    """Returns a reader of all partitions of a topic from their beginning, outside of any group."""
    reader = Consumer(brokers, f"pmflow-reader-of-{topic.name}")
    reader.assign({TopicPartition(topic.name, p): OFFSET_BEGINNING for p in range(topic.partitions)})
    return reader
