"""Asks the cluster and changes it: the ends and beginnings of topics, committed offsets, creation of topics."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # not exported for type checkers
from confluent_kafka.cimpl import NewTopic

from shared.kafka import consume, record
from shared.kafka.record import KafkaFailure
from shared.topics import Topic


@contextmanager
def _refusals(doing: str) -> Iterator[None]:
    """Raises this package's own error in place of the client library's."""
    try:
        yield
    except KafkaException as error:
        raise KafkaFailure(f"{doing}: {error.args[0].str()}") from error


def ends(brokers: str, topic: Topic) -> dict[int, int]:
    """Where each partition that holds messages ends now: the next offset.

    By a client of its own: a consumer that another thread reads with does not answer.
    """
    admin = _admin(brokers)
    latest = _offsets(admin, topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    earliest = _offsets(admin, topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    return {partition: end for partition, end in latest.items() if end > earliest[partition]}


def committed(brokers: str, group: str, topic: Topic) -> dict[int, int]:
    """The next offset of a group in each partition; negative: none."""
    asker = consume.Consumer(brokers, group)  # it subscribes to nothing, so it is no member
    try:
        found = asker.committed([record.TopicPartition(topic.name, p) for p in range(topic.partitions)])
    finally:
        asker.close()
    return {at.partition: offset for at, offset in found.items()}


def begins(brokers: str, topic: Topic, since_ms: int | None = None) -> dict[int, int]:
    """The first offset of each partition, or the first of a message not older than a time (ms since 1970); -1: none."""
    spec = OffsetSpec.earliest() if since_ms is None else OffsetSpec.for_timestamp(since_ms)  # type: ignore[no-untyped-call]
    return _offsets(_admin(brokers), topic, spec)


def _admin(brokers: str) -> AdminClient:
    """Short-lived: librdkafka has nothing to tell of it."""
    return AdminClient({"bootstrap.servers": brokers, "log_level": 0})


@_refusals("offsets not listed")
def _offsets(admin: AdminClient, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
    asked = admin.list_offsets({TopicPartition(topic.name, p): spec for p in range(topic.partitions)})
    return {place.partition: future.result().offset for place, future in asked.items()}


@_refusals("no broker answers")
def brokers_that_answer(brokers: str, timeout_s: float) -> int:
    """How many brokers the cluster has.

    Raises:
        KafkaFailure: none answers in time.
    """
    return len(_admin(brokers).list_topics(timeout=timeout_s).brokers)


@_refusals("topics not listed")
def missing(brokers: str, topics: Iterable[Topic]) -> list[str]:
    """Which topics do not exist.

    Raises:
        KafkaFailure: no broker answers.
    """
    present = _admin(brokers).list_topics(timeout=30).topics
    return [topic.name for topic in topics if topic.name not in present]


@_refusals("topics not created")
def provision(brokers: str, topics: Iterable[Topic]) -> dict[str, str]:
    """Create what is missing; name -> created | kept.

    Raises:
        KafkaFailure: a topic has another number of partitions, or the broker refused.
    """
    admin = _admin(brokers)
    wanted = {topic.name: topic for topic in topics}
    present = admin.list_topics(timeout=30).topics
    new = [topic for topic in wanted.values() if topic.name not in present]
    for name in wanted.keys() & present.keys():
        if len(present[name].partitions) != wanted[name].partitions:
            raise KafkaFailure(
                f"{name} has {len(present[name].partitions)} partitions, must have {wanted[name].partitions}"
            )
    created = admin.create_topics([NewTopic(t.name, t.partitions, config=t.config) for t in new]) if new else {}
    for future in created.values():
        future.result()
    _wait_until_led(brokers, new)
    return {name: "created" if name in created else "kept" for name in sorted(wanted)}


def _wait_until_led(brokers: str, topics: Iterable[Topic], within_s: float = 120.0) -> None:
    """A topic is created before its partitions have leaders; who reads then is refused.

    Asked by a new client each time: one that was told of no leader may go on believing it.
    """
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(t.name, p): latest for t in topics for p in range(t.partitions)}
    until_s = monotonic() + within_s
    while wanted:
        admin = _admin(brokers)  # lives until it has answered
        asked = admin.list_offsets(wanted, request_timeout=10)
        refused = {place: why for place, future in asked.items() if (why := future.exception()) is not None}
        if refused and monotonic() > until_s:
            place, why = refused.popitem()
            raise KafkaFailure(f"no leader of {place}: {why}")
        wanted = dict.fromkeys(refused, latest)
