"""Checks the consumer groups: whether somebody reads, and whether records leave the topics before they are read."""

from collections.abc import Iterable, Iterator, Mapping
from time import time

from shared.kafka.admin import begins, ends
from shared.kafka.cluster import committed_offsets, groups_as_seen, topics_as_seen
from shared.kafka.record import TopicPartition
from shared.rights import JOINED_GROUPS
from shared.settings import Settings
from shared.topics import CYCLES, FILES_FOUND, FILES_SETTLE, FILES_STATUS, FOR_EVER, Topic, counters_topic
from tools.cli.doctor.findings import Finding, Installation

WARN_AT = 0.5
"""Share of the retention behind which a group that lags is close to a loss."""


def topics_read_by(settings: Settings) -> dict[str, list[Topic]]:
    """Returns the topics that each consumer group reads."""
    counters = [counters_topic(system.name) for system in settings.systems]
    in_clickhouse = [counters_topic(system.name) for system in settings.systems if system.is_using_clickhouse]
    own = {"cycles": [CYCLES], "files": [FILES_STATUS]}
    found = {
        "pmflow-fetcher": [FILES_FOUND, FILES_SETTLE],
        "pmflow-tracker": [FILES_STATUS],
        "pmflow-mysql-writer": counters,
        **{f"pmflow-mysql-writer-{name}": topics for name, topics in own.items()},
    }
    if in_clickhouse:
        found |= {"pmflow-ch-bridge": in_clickhouse}
        found |= {f"pmflow-ch-bridge-{name}": topics for name, topics in own.items()}
    return found


def check_groups(installation: Installation) -> Iterator[Finding]:
    """Yields groups without members, and groups that lag so far that they lose records."""
    settings = installation.settings
    brokers, read = settings.kafka, topics_read_by(settings)
    seen = groups_as_seen(brokers, read)
    services = {group: service for service, groups in JOINED_GROUPS.items() for group in groups}
    for service in dict.fromkeys(services[group] for group in read):
        idle = [group for group in read if services[group] == service and not (group in seen and seen[group].members)]
        if idle:
            text = f"{service} does not run: nobody reads as {', '.join(idle)}"
            yield Finding("warning", text, "records wait in their topics", f"start it: pmflow run {service}")
    exists = topics_as_seen(brokers, {topic.name for topics in read.values() for topic in topics})
    lags = LagReader(installation)
    for group, topics in read.items():
        committed = committed_offsets(brokers, group) if group in seen else {}
        for topic in topics:
            if committed and topic.name in exists:
                yield from lags.findings(group, topic, committed)
    yield from lags.summary()


class LagReader:
    """Compares the committed offsets of groups with the offsets of their topics, which it reads once each."""

    def __init__(self, installation: Installation) -> None:
        self.brokers = installation.settings.kafka
        self.offsets: dict[str, tuple[dict[int, int], dict[int, int], dict[int, int]]] = {}
        """Topic -> its first offsets, its ends, and the first offsets since the time at which it becomes close."""
        self.lags: dict[str, int] = {}

    def findings(self, group: str, topic: Topic, committed: Mapping[TopicPartition, int]) -> Iterator[Finding]:
        """Yields whether a group has lost records of a topic, or will lose some soon."""
        if topic.name not in self.offsets:
            close_ms = int(time() * 1000) - int(WARN_AT * topic.retention_ms)
            since = begins(self.brokers, topic, close_ms) if topic.retention_ms != FOR_EVER else {}
            self.offsets[topic.name] = begins(self.brokers, topic), ends(self.brokers, topic), since
        first, end, close = self.offsets[topic.name]
        own = {at.partition: offset for at, offset in committed.items() if at.topic == topic.name}
        self.lags[group] = self.lags.get(group, 0) + lag(own, first, end)
        yield from lag_findings(group, topic, own, first, close)

    def summary(self) -> Iterator[Finding]:
        """Yields the number of records that each group has left to read."""
        if self.lags:
            text = ", ".join(f"{group} {records:,}" for group, records in self.lags.items())
            yield Finding("ok", f"records left to read: {text}")


def lag(committed: Mapping[int, int], first: Mapping[int, int], end: Mapping[int, int]) -> int:
    """Returns the number of records that a group has left to read."""
    return sum(max(0, at - max(committed.get(p, 0), first.get(p, 0))) for p, at in end.items())


def lag_findings(
    group: str, topic: Topic, committed: Mapping[int, int], first: Mapping[int, int], close: Mapping[int, int]
) -> Iterator[Finding]:
    """Yields whether records were removed before a group read them, or will be soon.

    Args:
        group: the consumer group.
        topic: a topic that it reads.
        committed: its committed offsets by partition.
        first: the first offsets of the topic.
        close: the first offsets that are younger than half of the retention; -1: there are none.
    """
    lost = _partitions(p for p, offset in committed.items() if offset < first.get(p, 0))
    if lost and not topic.compacted:
        meaning = "their files are not stored completely, see docs/operations.md, Gaps in a topic"
        text = f"{group}: records of {topic.name} were removed before they were read, partitions {lost}"
        yield Finding("error", text, meaning, "pmflow backfill, for the days in question")
        return
    late = _partitions(p for p, offset in committed.items() if first.get(p, 0) <= offset < close.get(p, -1))
    if late:
        text = f"{group} is more than half of the retention of {topic.name} behind, partitions {late}"
        remedy = "mend what the group waits for; until then raise retention.ms of the topic"
        yield Finding("error", text, "records will be removed before they are read", remedy)


def _partitions(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
