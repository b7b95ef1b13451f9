"""Queries and changes the cluster: first and end offsets of topics, committed offsets, creation of topics."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # not exported for type checkers
from confluent_kafka.cimpl import NewTopic

from shared.configuration.kafka import Kafka
from shared.errors import Unreachable
from shared.kafka import consume, record
from shared.kafka.record import KafkaFailure
from shared.topics import Topic

PASSING = {
    *("UNKNOWN_LEADER_EPOCH", "FENCED_LEADER_EPOCH", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION"),
    *("OFFSET_NOT_AVAILABLE", "NETWORK_EXCEPTION", "REQUEST_TIMED_OUT", "_TRANSPORT", "_TIMED_OUT", "_NOENT"),
}
"""Errors that pass by themselves: a broker restarts or cannot be reached; _NOENT: no partition has a leader yet."""


@contextmanager
def _refusals(doing: str) -> Iterator[None]:
    """Translates errors of the client library into KafkaFailure."""
    try:
        yield
    except KafkaException as error:
        raise KafkaFailure(f"{doing}: {error.args[0].str()}") from error


def ends(brokers: Kafka, topic: Topic) -> dict[int, int]:
    """Returns the end offset of each partition that contains records.

    It uses a client of its own, as a consumer does not answer while another thread reads with it.

    Raises:
        Unreachable: no answer in time.
    """
    latest = _offsets(brokers, topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    earliest = _offsets(brokers, topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    return {partition: end for partition, end in latest.items() if end > earliest[partition]}


def committed(brokers: Kafka, group: str, topic: Topic) -> dict[int, int]:
    """Returns the committed offset of a group in each partition; negative if there is none."""
    asker = consume.Consumer(brokers, group)  # it does not subscribe, so it does not join the group
    try:
        found = asker.committed([record.TopicPartition(topic.name, p) for p in range(topic.partitions)])
    finally:
        asker.close()
    return {at.partition: offset for at, offset in found.items()}


def begins(brokers: Kafka, topic: Topic, since_ms: int | None = None) -> dict[int, int]:
    """Returns the first offset of each partition, or the first since a time (ms since 1970); -1 if there is none."""
    spec = OffsetSpec.earliest() if since_ms is None else OffsetSpec.for_timestamp(since_ms)  # type: ignore[no-untyped-call]
    return _offsets(brokers, topic, spec)


def admin_client(brokers: Kafka) -> AdminClient:
    """Returns a short-lived client, without log messages of librdkafka."""
    return AdminClient({**brokers.client(), "log_level": 0})


def _offsets(brokers: Kafka, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
    wanted = {TopicPartition(topic.name, p): spec for p in range(topic.partitions)}
    return {partition.partition: offset for partition, offset in _list_offsets(brokers, wanted, PASSING).items()}


@_refusals("offsets not listed")
def _list_offsets(
    brokers: Kafka, wanted: Mapping[TopicPartition, OffsetSpec], passing: Collection[str], within_s: float = 30.0
) -> dict[TopicPartition, int]:
    """Asks until every partition has answered; each time with a new client, since one may keep a stale leader.

    Raises:
        Unreachable: a partition still answers with a passing error when the time is over.
        KafkaFailure: any other error.
    """
    found: dict[TopicPartition, int] = {}
    until_s = monotonic() + within_s
    while left := {partition: spec for partition, spec in wanted.items() if partition not in found}:
        admin = admin_client(brokers)  # lives until it has answered
        for partition, future in admin.list_offsets(left, request_timeout=10).items():
            try:
                found[partition] = future.result().offset
            except KafkaException as error:
                if error.args[0].name() not in passing:
                    raise
                if monotonic() > until_s:
                    raise Unreachable(
                        f"Kafka {brokers.bootstrap_servers}: offsets of {partition}: {error.args[0].str()}"
                    ) from error
        sleep(0.05 if len(found) < len(wanted) else 0)
    return found


@_refusals("no broker responds")
def brokers_that_answer(brokers: Kafka, timeout_s: float) -> int:
    """Returns the number of brokers in the cluster.

    Raises:
        KafkaFailure: none responds in time.
    """
    return len(admin_client(brokers).list_topics(timeout=timeout_s).brokers)


@_refusals("topics not listed")
def missing(brokers: Kafka, topics: Iterable[Topic]) -> list[str]:
    """Returns the names of the topics that do not exist.

    Raises:
        KafkaFailure: no broker responds.
    """
    present = admin_client(brokers).list_topics(timeout=30).topics
    return [topic.name for topic in topics if topic.name not in present]


@_refusals("topics not created")
def provision(brokers: Kafka, topics: Iterable[Topic]) -> dict[str, str]:
    """Creates the topics that are missing. Returns topic -> created or kept.

    Raises:
        KafkaFailure: a topic has a different number of partitions, or the broker refused.
        Unreachable: a new topic got no leader in time.
    """
    admin = admin_client(brokers)
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


def _wait_until_led(brokers: Kafka, topics: Iterable[Topic]) -> None:
    """Waits for the leaders of new topics: a topic is created before its partitions have leaders."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(t.name, p): latest for t in topics for p in range(t.partitions)}
    _list_offsets(brokers, wanted, PASSING | {"UNKNOWN_TOPIC_OR_PART"}, within_s=120.0)
