"""Checks the topics: whether they exist with their partitions, and whether their configuration keeps what it must."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.kafka.cluster import Granted, topic_configs, topics_as_seen
from shared.topics import COMPACTION, DAY_MS, FOR_EVER, Topic, provisioned
from tools.cli.doctor.findings import Finding, Installation, Severity

SHORTEST_RETENTION_MS = DAY_MS
"""Retention below which an outage of a night loses data."""
SHOWN_NAMES = 3
ALTER = "kafka-configs --bootstrap-server {server} --alter --entity-type topics --entity-name {topic} --add-config"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with one topic or with several; `{topic}` and `{server}` in the remedy are replaced."""

    severity: Severity
    found: str
    meaning: str
    remedy: str


def check_topics(installation: Installation) -> Iterator[Finding]:
    """Yields everything that is wrong with the topics; equal problems of several topics are one finding."""
    settings = installation.settings
    wanted = {topic.name: topic for topic in provisioned(system.name for system in settings.systems)}
    seen = topics_as_seen(settings.kafka, wanted)
    configs = topic_configs(settings.kafka, [name for name, topic in seen.items() if topic.replicas])
    problems: dict[Problem, list[str]] = defaultdict(list)
    for name, topic in wanted.items():
        for problem in problems_of(topic, seen.get(name), configs.get(name)):
            problems[problem].append(name)
    yield from (_finding(problem, names, settings.kafka.bootstrap_servers) for problem, names in problems.items())
    if not problems:
        yield Finding("ok", f"{len(wanted)} topics exist and are configured as they should be")


def _finding(problem: Problem, names: list[str], server: str) -> Finding:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    remedy = problem.remedy.replace("{topic}", names[0]).replace("{server}", server)
    found = f"{problem.found}: {', '.join(names[:SHOWN_NAMES])}{more}"
    return Finding(problem.severity, found, problem.meaning, remedy)


def problems_of(topic: Topic, seen: Granted | None, config: Mapping[str, str] | None) -> Iterator[Problem]:
    """Yields what is wrong with a topic.

    Args:
        topic: the topic as it should be.
        seen: the topic as it is; None if it does not exist.
        config: its configuration; None if the login may not read it.
    """
    if seen is None:
        meaning = "services that use it exit or wait until it exists"
        yield Problem("error", "topic does not exist", meaning, "pmflow topics create")
        return
    if not seen.replicas:
        meaning = "it may exist or not"
        yield Problem("error", "no right to see topic", meaning, "pmflow topics acls, for the principal of this login")
        return
    yield from _partitions(topic, seen)
    if config is None:
        meaning = "retention, cleanup policy and sizes are unknown"
        remedy = "grant DescribeConfigs, see pmflow topics acls"
        yield Problem("warning", "no right to read the configuration of topic", meaning, remedy)
        return
    yield from _copies(seen, config)
    yield from _cleanup(topic, config)
    yield from _sizes(topic, config)


def _partitions(topic: Topic, seen: Granted) -> Iterator[Problem]:
    count = len(seen.replicas)
    if count != topic.partitions:
        yield Problem(
            "error", f"topic has {count} partitions instead of {topic.partitions}",
            "messages of an element go to the wrong partition, or to one that nobody reads",
            "stop the services, delete the topic when its messages are stored, and run pmflow topics create",
        )  # fmt: skip
    if dead := seen.in_sync.count(0):
        meaning = "nothing can be read from them or written to them"
        remedy = "start the broker that holds them: kafka-topics --bootstrap-server {server} --describe --topic {topic}"
        yield Problem("error", f"{dead} partitions without a leader", meaning, remedy)


def _copies(seen: Granted, config: Mapping[str, str]) -> Iterator[Problem]:
    copies, required = min(seen.replicas), int(config.get("min.insync.replicas", 1))
    in_sync = min(seen.in_sync)
    if 0 < in_sync < required:
        yield Problem(
            "error", f"only {in_sync} replicas in sync of the {required} that min.insync.replicas requires",
            "nothing can be written", "start the missing brokers",
        )  # fmt: skip
    elif 0 < in_sync < copies:
        meaning = "the loss of another broker may stop pmflow"
        yield Problem("warning", f"only {in_sync} of {copies} replicas in sync", meaning, "start the missing brokers")
    if copies == 1:
        meaning = "the loss of one broker's disk loses the files under way and their status"
        remedy = "with 3 brokers: set default.replication.factor=3 and min.insync.replicas=2 before topics are created"
        yield Problem("warning", "topic has 1 replica", meaning, remedy)
    elif required == 1:
        meaning = "a record counts as durable as soon as one broker has it"
        yield Problem("warning", "min.insync.replicas is 1", meaning, f"{ALTER} min.insync.replicas=2")
    elif required >= copies:
        meaning = "one broker that restarts stops all writing"
        remedy = f"{ALTER} min.insync.replicas={copies - 1}"
        yield Problem("warning", f"min.insync.replicas is {required}, as many as there are replicas", meaning, remedy)
    if config.get("unclean.leader.election.enable") == "true":
        meaning = "a broker that lacks records may become the leader, and they are lost"
        remedy = f"{ALTER} unclean.leader.election.enable=false"
        yield Problem("warning", "unclean.leader.election.enable is true", meaning, remedy)


def _cleanup(topic: Topic, config: Mapping[str, str]) -> Iterator[Problem]:
    policy, wanted = _policies(config), _policies(topic.config)
    if policy != wanted:
        spelled = ",".join(sorted(wanted))
        meaning = (
            "older messages of an element are removed before they are stored"
            if "compact" in policy
            else "the newest record of a key is removed in time"
            if topic.retention_ms == FOR_EVER
            else "the topic grows, or the newest record of a key is removed in time"
        )
        remedy = f"{ALTER} cleanup.policy=[{spelled}]"
        found = f"cleanup.policy is {','.join(sorted(policy))} instead of {spelled}"
        yield Problem("error", found, meaning, remedy)
    kept_ms = int(config.get("retention.ms", topic.retention_ms))
    if kept_ms != FOR_EVER and (topic.retention_ms == FOR_EVER or kept_ms < topic.retention_ms):
        wanted_text = "without limit" if topic.retention_ms == FOR_EVER else f"for {_days(topic.retention_ms)}"
        yield Problem(
            "error" if kept_ms < SHORTEST_RETENTION_MS or topic.retention_ms == FOR_EVER else "warning",
            f"topic keeps records for {_days(kept_ms)} instead of {wanted_text}",
            "a service that is away for longer, such as a sink without its database, loses them",
            f"{ALTER} retention.ms={topic.retention_ms}",
        )
    if int(config.get("retention.bytes", FOR_EVER)) != FOR_EVER:
        meaning = "records are removed by size, whether they are stored or not"
        found = f"retention.bytes limits each partition to {int(config['retention.bytes']):,} bytes"
        yield Problem("warning", found, meaning, f"{ALTER} retention.bytes=-1")


def _policies(config: Mapping[str, str]) -> frozenset[str]:
    return frozenset(part.strip() for part in config.get("cleanup.policy", "").split(",") if part.strip())


def _sizes(topic: Topic, config: Mapping[str, str]) -> Iterator[Problem]:
    largest = int(config.get("max.message.bytes", topic.max_bytes))
    if largest < topic.max_bytes:
        yield Problem(
            "error", f"max.message.bytes is {largest:,} instead of {topic.max_bytes:,}",
            "large batches of counters are refused", f"{ALTER} max.message.bytes={topic.max_bytes}",
        )  # fmt: skip
    differing = [f"{key}={value}" for key, value in COMPACTION.items() if float(config.get(key, "nan")) != float(value)]
    if topic.compacted and differing:
        meaning = "services that start read more than they need, and take longer"
        yield Problem("warning", "compaction is not set up as pmflow does", meaning, f"{ALTER} {','.join(differing)}")


def _days(time_ms: int) -> str:
    return f"{time_ms / DAY_MS:.3g} days" if time_ms >= DAY_MS else f"{time_ms / DAY_MS * 24:.3g} hours"
