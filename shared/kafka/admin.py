"""Queries and changes the cluster: first and end offsets of topics, committed offsets, creation of topics."""

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
    """Translates errors of the client library into KafkaFailure."""
    try:
        yield
    except KafkaException as error:
        raise KafkaFailure(f"{doing}: {error.args[0].str()}") from error


def ends(brokers: str, topic: Topic) -> dict[int, int]:
    """Returns the end offset of each partition that contains records.

    It uses a client of its own, as a consumer does not answer while another thread reads with it.
    """
    admin = _admin(brokers)
    latest = _offsets(admin, topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    earliest = _offsets(admin, topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    return {partition: end for partition, end in latest.items() if end > earliest[partition]}


def committed(brokers: str, group: str, topic: Topic) -> dict[int, int]:
    """Returns the committed offset of a group in each partition; negative if there is none."""
    asker = consume.Consumer(brokers, group)  # it does not subscribe, so it does not join the group
    try:
        found = asker.committed([record.TopicPartition(topic.name, p) for p in range(topic.partitions)])
    finally:
        asker.close()
    return {at.partition: offset for at, offset in found.items()}


def begins(brokers: str, topic: Topic, since_ms: int | None = None) -> dict[int, int]:
    """Returns the first offset of each partition, or the first since a time (ms since 1970); -1 if there is none."""
    spec = OffsetSpec.earliest() if since_ms is None else OffsetSpec.for_timestamp(since_ms)  # type: ignore[no-untyped-call]
    return _offsets(_admin(brokers), topic, spec)


def _admin(brokers: str) -> AdminClient:
    """Returns a short-lived client, without log messages of librdkafka."""
    return AdminClient({"bootstrap.servers": brokers, "log_level": 0})


@_refusals("offsets not listed")
def _offsets(admin: AdminClient, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
    asked = admin.list_offsets({TopicPartition(topic.name, p): spec for p in range(topic.partitions)})
    return {at.partition: future.result().offset for at, future in asked.items()}


@_refusals("no broker responds")
def brokers_that_answer(brokers: str, timeout_s: float) -> int:
    """Returns the number of brokers in the cluster.

    Raises:
        KafkaFailure: none responds in time.
    """
    return len(_admin(brokers).list_topics(timeout=timeout_s).brokers)


@_refusals("topics not listed")
def missing(brokers: str, topics: Iterable[Topic]) -> list[str]:
    """Returns the names of the topics that do not exist.

    Raises:
        KafkaFailure: no broker responds.
    """
    present = _admin(brokers).list_topics(timeout=30).topics
    return [topic.name for topic in topics if topic.name not in present]


@_refusals("topics not created")
def provision(brokers: str, topics: Iterable[Topic]) -> dict[str, str]:
    """Creates the topics that are missing. Returns topic -> created or kept.

    Raises:
        KafkaFailure: a topic has a different number of partitions, or the broker refused.
    """
    admin = _admin(brokers)
    wanted = {topic.name: topic for topic in topics}
    present = admin.list_topics(timeout=30).topics
    new = [topic for topic in wanted.values() if topic.name not in present]
    for name in wanted.keys() & present.keys():
        if len(present[name].partitions) != wanted[name].partitions:
            raise KafkaFailure(
                f"{name} has {len(present[name].partitions)} partitions, expected {wanted[name].partitions}"
            )
    created = admin.create_topics([NewTopic(t.name, t.partitions, config=t.config) for t in new]) if new else {}
    for future in created.values():
        future.result()
    _wait_until_led(brokers, new)
    return {name: "created" if name in created else "kept" for name in sorted(wanted)}


def _wait_until_led(brokers: str, topics: Iterable[Topic], within_s: float = 120.0) -> None:
    """Waits until all partitions have leaders: a topic is created before, and cannot be read until then.

    Each request uses a new client, as one that got no leader may cache that answer.
    """
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(t.name, p): latest for t in topics for p in range(t.partitions)}
    until_s = monotonic() + within_s
    while wanted:
        admin = _admin(brokers)  # kept until it has answered
        asked = admin.list_offsets(wanted, request_timeout=10)
        refused = {at: why for at, future in asked.items() if (why := future.exception()) is not None}
        if refused and monotonic() > until_s:
            at, why = refused.popitem()
            raise KafkaFailure(f"no leader for {at}: {why}")
        wanted = dict.fromkeys(refused, latest)
