"""Kafka, the settings we must not get wrong: the only module that imports confluent_kafka.

Producers are idempotent and wait for all replicas. Consumers commit nothing by themselves: an offset is stored only
when the effect of its message is durable (DESIGN section 2.4).
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from time import monotonic, sleep

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # not exported for type checkers
from confluent_kafka.cimpl import NewTopic

from shared.errors import Unreachable
from shared.messages import partition_of
from shared.topics import MESSAGE_MAX_BYTES, Topic

__all__ = ["OFFSET_BEGINNING", "Consumer", "KafkaException", "Message", "TopicPartition"]

log = logging.getLogger(__name__)
SESSION_TIMEOUT_MS = 10_000
"""A killed member's partitions move on after this."""
NO_SUCH_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}
PASSING = {
    *("UNKNOWN_LEADER_EPOCH", "FENCED_LEADER_EPOCH", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION"),
    *("OFFSET_NOT_AVAILABLE", "NETWORK_EXCEPTION", "REQUEST_TIMED_OUT", "_TRANSPORT", "_TIMED_OUT", "_NOENT"),
}
"""Errors that pass by themselves: a broker restarts or cannot be reached; _NOENT: no partition has a leader yet."""


def consumer(brokers: str, group: str) -> Consumer:
    """A member of a group that reads from where the group is, first from the beginning."""
    return Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 2_000,
            "fetch.max.bytes": 16 << 20,
            "queued.max.messages.kbytes": 16 << 10,  # per process: bounds memory while a sink is slow
        }
    )


def follow_all(brokers: str, topic: Topic) -> Consumer:
    """A reader without a group: all partitions of a topic from their beginning."""
    reader = consumer(brokers, f"pmflow-reader-of-{topic.name}")
    reader.assign([TopicPartition(topic.name, p, OFFSET_BEGINNING) for p in range(topic.partitions)])
    return reader


def ends(brokers: str, topic: Topic) -> dict[int, int]:
    """Returns the next offset of each partition that holds messages; raises Unreachable without an answer in time.

    Asks with its own client: a consumer that another thread reads with does not answer.
    """
    latest = _offsets(brokers, topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    earliest = _offsets(brokers, topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    return {partition: end for partition, end in latest.items() if end > earliest[partition]}


def committed(brokers: str, group: str, topic: Topic) -> dict[int, int]:
    """The next offset of a group in each partition; negative: none."""
    asker = consumer(brokers, group)  # it subscribes to nothing, so it is no member
    try:
        found = asker.committed([TopicPartition(topic.name, p) for p in range(topic.partitions)], timeout=30)
    except KafkaException as error:
        raise Unreachable(f"offsets of {group}: {error.args[0].str()}") from error
    finally:
        asker.close()
    return {p.partition: p.offset for p in found}


def begins(brokers: str, topic: Topic, since_ms: int | None = None) -> dict[int, int]:
    """Returns the first offset of each partition, or of its first message since a time (ms since 1970); -1: none."""
    spec = OffsetSpec.earliest() if since_ms is None else OffsetSpec.for_timestamp(since_ms)  # type: ignore[no-untyped-call]
    return _offsets(brokers, topic, spec)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a topic, by partition: from the first offset to before the end."""

    topic: Topic
    first: Mapping[int, int]
    ends: Mapping[int, int]

    @property
    def messages(self) -> int:
        return sum(max(0, end - self.first[p]) for p, end in self.ends.items())


def read(brokers: str, group: str, part: Stretch, most: int) -> Iterator[list[Message]]:
    """All messages of the stretch, at most so many at once; nothing is committed."""
    reader = consumer(brokers, group)
    left = {p: end for p, end in part.ends.items() if part.first[p] < end}
    reader.assign([TopicPartition(part.topic.name, p, part.first[p]) for p in left])
    try:
        while left:
            found = usable(reader.consume(most, 0.5))
            yield [message for message in found if origin(message)[2] < part.ends[origin(message)[1]]]
            at = reader.position([TopicPartition(part.topic.name, p) for p in left])
            left = {p.partition: left[p.partition] for p in at if p.offset < left[p.partition]}
    finally:
        reader.close()


def _admin(brokers: str) -> AdminClient:
    """Short-lived: librdkafka has nothing to tell of it."""
    return AdminClient({"bootstrap.servers": brokers, "log_level": 0})


def _offsets(brokers: str, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
    found = _list_offsets(brokers, {TopicPartition(topic.name, p): spec for p in range(topic.partitions)}, PASSING)
    return {place.partition: offset for place, offset in found.items()}


def _list_offsets(
    brokers: str, wanted: Mapping[TopicPartition, OffsetSpec], passing: Collection[str], within_s: float = 30.0
) -> dict[TopicPartition, int]:
    """Asks until every partition has answered; each time with a new client, since one may keep a stale leader.

    Raises:
        Unreachable: a partition still answers with a passing error when the time is over.
        KafkaException: any other error.
    """
    found: dict[TopicPartition, int] = {}
    until_s = monotonic() + within_s
    while left := {place: spec for place, spec in wanted.items() if place not in found}:
        admin = _admin(brokers)  # lives until it has answered
        for place, future in admin.list_offsets(left, request_timeout=10).items():
            try:
                found[place] = future.result().offset
            except KafkaException as error:
                if error.args[0].name() not in passing:
                    raise
                if monotonic() > until_s:
                    raise Unreachable(f"Kafka {brokers}: offsets of {place}: {error.args[0].str()}") from error
        sleep(0.05 if len(found) < len(wanted) else 0)
    return found


def usable(messages: Iterable[Message | None]) -> list[Message]:
    """The messages without the consumer's notices; what librdkafka mends by itself is logged.

    Raises:
        KafkaException: it cannot mend it: no such topic, or a fatal error.
    """
    good = []
    for message in messages:
        if message is None:
            continue
        error = message.error()
        if error is None:
            good.append(message)
        elif error.fatal() or error.code() in NO_SUCH_TOPIC:
            raise KafkaException(error)
        else:
            log.warning("kafka notice", extra={"reason": error.str()})
    return good


def messages_after(reader: Consumer, at: TopicPartition) -> int:
    """Of a partition that is read, by the newest answer of the broker; asks nobody."""
    _, end = reader.get_watermark_offsets(at, cached=True)
    return max(0, int(end) - max(0, at.offset))


def commit(reader: Consumer, offsets: Sequence[TopicPartition]) -> None:
    """Commit next offsets; a partition that is no longer ours is its new owner's business."""
    try:
        reader.commit(offsets=list(offsets), asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in {
            KafkaError.ILLEGAL_GENERATION,
            KafkaError.REBALANCE_IN_PROGRESS,
            KafkaError.UNKNOWN_MEMBER_ID,
            KafkaError._STATE,  # noqa: SLF001 - librdkafka's public name for it
            KafkaError._NO_OFFSET,  # noqa: SLF001
        }:
            raise
        log.warning("offsets not committed, their messages come again", extra={"reason": error.args[0].str()})


class Deliveries:
    """The delivery reports of one unit of work."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.outstanding = 0
        self.last_offset = -1
        self.failure: KafkaError | None = None

    def expect(self) -> None:
        with self.changed:
            self.outstanding += 1

    def report(self, error: KafkaError | None, message: Message) -> None:
        with self.changed:
            self.outstanding -= 1
            self.failure = self.failure or error
            if error is None:
                self.last_offset = max(self.last_offset, message.offset() or 0)
            self.changed.notify_all()

    def wait(self) -> int:
        """The highest offset, when all are durable. librdkafka bounds the wait (delivery.timeout.ms).

        Raises:
            Unreachable: one was not delivered: none of the work counts as done.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.outstanding == 0)
            if self.failure is not None:
                raise Unreachable(f"Kafka did not take a message: {self.failure.str()}")
            return self.last_offset


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to a topic."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    """None takes the key out of a compacted topic."""
    headers: Mapping[str, str] = field(default_factory=dict)


def about_element(topic: Topic, element: str, key: str, value: bytes) -> Outgoing:
    """A message to the partition that all of the element's are in, whatever the topic."""
    return Outgoing(topic.name, partition_of(element), key, value)


class KafkaProducer:
    """One librdkafka producer with a thread that serves its delivery reports; may be shared by threads."""

    def __init__(self, brokers: str, delivery_timeout_ms: int = 120_000) -> None:
        self.producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                "compression.level": 1,
                "linger.ms": 20,
                "batch.size": 1 << 20,
                "queue.buffering.max.kbytes": 64 << 10,  # bounds memory: who sends more waits
                "message.max.bytes": MESSAGE_MAX_BYTES + 100_000,
                "delivery.timeout.ms": delivery_timeout_ms,
            }
        )
        self.closing = Event()
        self.thread = Thread(target=self._serve, name="delivery-reports", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while not self.closing.is_set():
            self.producer.poll(0.2)

    def send(self, message: Outgoing, deliveries: Deliveries) -> None:
        """Hand over a message; blocks while the producer's queue is full."""
        deliveries.expect()
        while True:
            try:
                self.producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    message.partition,
                    on_delivery=deliveries.report,
                    headers=dict(message.headers),
                )
            except BufferError:
                self.producer.poll(0.1)
            else:
                return

    def deliver(self, *messages: Outgoing) -> None:
        """Send, and wait until all are durable.

        Raises:
            Unreachable: Kafka did not take one.
        """
        deliveries = Deliveries()
        for message in messages:
            self.send(message, deliveries)
        deliveries.wait()

    def close(self) -> None:
        """Wait for what is under way, then stop."""
        self.producer.flush(30)
        self.closing.set()
        self.thread.join()


def dead_letter(message: Message, reason: str, content: bytes | None = None) -> Outgoing:
    """What of a message cannot be worked on, all or a part: for its topic's dead letters, with cause and origin."""
    topic, partition, offset = origin(message)
    return Outgoing(
        f"{topic}.dlq",
        partition,
        (message.key() or b"").decode(errors="replace"),
        message.value() or b"" if content is None else content,
        {"reason": reason[:2000], "origin": f"{topic}/{partition}/{offset}"},
    )


def origin(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a message that was read."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("a message that was read has a topic, a partition and an offset")
    return topic, partition, offset


def brokers_that_answer(brokers: str, timeout_s: float) -> int:
    """How many brokers the cluster has.

    Raises:
        KafkaException: none answers in time.
    """
    return len(_admin(brokers).list_topics(timeout=timeout_s).brokers)


def missing(brokers: str, topics: Iterable[Topic]) -> list[str]:
    """Which topics do not exist.

    Raises:
        KafkaException: no broker answers.
    """
    present = _admin(brokers).list_topics(timeout=30).topics
    return [topic.name for topic in topics if topic.name not in present]


def provision(brokers: str, topics: Iterable[Topic]) -> dict[str, str]:
    """Creates what is missing; name -> created | kept.

    Raises:
        KafkaException: a topic has another number of partitions, or the broker refused.
        Unreachable: a new topic has no leader in time.
    """
    admin = _admin(brokers)
    wanted = {topic.name: topic for topic in topics}
    present = admin.list_topics(timeout=30).topics
    new = [topic for topic in wanted.values() if topic.name not in present]
    for name in wanted.keys() & present.keys():
        if len(present[name].partitions) != wanted[name].partitions:
            raise KafkaException(
                KafkaError(
                    KafkaError.INVALID_PARTITIONS,
                    f"{name} has {len(present[name].partitions)} partitions, must have {wanted[name].partitions}",
                )
            )
    created = admin.create_topics([NewTopic(t.name, t.partitions, config=t.config) for t in new]) if new else {}
    for future in created.values():
        future.result()
    _wait_until_led(brokers, new)
    return {name: "created" if name in created else "kept" for name in sorted(wanted)}


def _wait_until_led(brokers: str, topics: Iterable[Topic]) -> None:
    """Waits for the leaders of new topics: a topic is created before its partitions have leaders."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(t.name, p): latest for t in topics for p in range(t.partitions)}
    _list_offsets(brokers, wanted, PASSING | {"UNKNOWN_TOPIC_OR_PART"}, within_s=120.0)
