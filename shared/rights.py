"""The rights that each service needs in Kafka, and no more: derived from the topics it writes and reads. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from shared.topics import CYCLES, FILES_FOUND, FILES_SETTLE, FILES_STATUS, TRACKER_TABLES, Topic, counters_topic

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs", "Create"]
KAFKA_OPERATOR = "operator"
"""The person who uses `pmflow`: replays, retries, backfills, and creates topics."""
JOINED_GROUPS: Mapping[str, tuple[str, ...]] = {
    "fetcher": ("pmflow-fetcher",),
    "mysql_writer": ("pmflow-mysql-writer", "pmflow-mysql-writer-cycles", "pmflow-mysql-writer-files"),
    "ch_bridge": ("pmflow-ch-bridge", "pmflow-ch-bridge-cycles", "pmflow-ch-bridge-files"),
    "tracker": ("pmflow-tracker",),
}
"""Service -> the consumer groups whose member it is."""
NAMED_GROUPS: Mapping[str, tuple[str, ...]] = {
    "scanner": ("pmflow-reader-of-pm.files.status", "pmflow-reader-of-pm.files.status.dlq"),
    "fetcher": ("pmflow-fetcher-lookup", "pmflow-fetcher-settle"),
    "tracker": (
        "pmflow-reader-of-pm.files.status",
        "pmflow-reader-of-pm.files.status.dlq",
        "pmflow-tracker-cycles",
        "pmflow-tracker-sweep",
    ),
}
"""Service -> groups that it names while it reads whole topics, without being a member."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """The right to do something with a topic or a group."""

    resource: Literal["topic", "group"]
    name: str
    operation: Operation
    is_prefix: bool = False
    """True if it holds for every name that begins with this one, so that a new system needs no new right."""


def rights(principal: str) -> list[Right]:
    """Returns the rights of a service, or of the operator."""
    return sorted(set(_operators() if principal == KAFKA_OPERATOR else _services(principal)))


def _services(service: str) -> Iterator[Right]:
    for topic in (FILES_FOUND, FILES_STATUS, FILES_SETTLE, CYCLES):
        yield from _of_topic(service, topic)
        yield from _of_topic(service, topic.dead_letters)
    for table in TRACKER_TABLES:
        yield from _of_topic(service, table)
    counters = counters_topic("")
    for topic in (
        counters,
        counters.dead_letters,
    ):  # one prefix covers all systems and dead letters
        yield from _of_topic(service, topic, prefix=counters.name)
    for group in JOINED_GROUPS.get(service, ()):
        yield Right("group", group, "Read")
    for group in NAMED_GROUPS.get(service, ()):
        yield Right("group", group, "Describe")


def _of_topic(service: str, topic: Topic, prefix: str = "") -> Iterator[Right]:
    if service in topic.readers:
        yield Right("topic", prefix or topic.name, "Read", is_prefix=bool(prefix))
    if service in topic.writers:
        yield Right("topic", prefix or topic.name, "Write", is_prefix=bool(prefix))


def _operators() -> Iterator[Right]:
    operations: tuple[Operation, ...] = ("Read", "Write", "Create", "DescribeConfigs")
    yield from (Right("topic", "pm.", operation, is_prefix=True) for operation in operations)
    of_tables: tuple[Operation, ...] = ("Describe", "Create", "DescribeConfigs")
    yield from (Right("topic", "pmflow-tracker-", operation, is_prefix=True) for operation in of_tables)
    yield Right("group", "pmflow-", "Describe", is_prefix=True)
