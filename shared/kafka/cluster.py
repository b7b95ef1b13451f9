"""Describes what a cluster has: topics with their configuration and rights, consumer groups, and users with rights."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Literal, get_args

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin._acl import AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from shared.configuration.kafka import Kafka
from shared.errors import Unreachable
from shared.kafka.admin import admin_client
from shared.kafka.consume import COORDINATOR_CHANGES, COORDINATOR_WAIT_S
from shared.kafka.reach import RIGHTS
from shared.kafka.record import TopicPartition
from shared.rights import Operation, Right

ANSWER_S = 10
ANY_NAME = "*"
"""Name of a literal pattern that holds for every topic or group."""
ABSENT = frozenset((KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND))


@dataclass(frozen=True, slots=True)
class Granted:
    """A topic or a group as one login sees it."""

    operations: frozenset[str] | None = frozenset()
    """The operations that it may use, such as READ; none if the broker does not describe it; None: unknown."""
    replicas: tuple[int, ...] = ()
    """Topic: the number of replicas of each partition."""
    in_sync: tuple[int, ...] = ()
    """Topic: the number of replicas of each partition that are in sync; 0 without a leader."""
    members: int = 0
    """Group: the number of its members."""


def topics_as_seen(brokers: Kafka, names: Iterable[str]) -> dict[str, Granted]:
    """Returns the topics that exist, and those that the login may not see, without operations.

    Raises:
        Unreachable: no answer in time.
    """
    client = admin_client(brokers)  # lives until it has answered
    asked = TopicCollection(list(names))
    answers = client.describe_topics(asked, include_authorized_operations=True, request_timeout=ANSWER_S)
    return _each(answers, "topics", _topic)


def groups_as_seen(brokers: Kafka, names: Iterable[str]) -> dict[str, Granted]:
    """Returns the groups, those without members included, and those that the login may not see, without operations.

    Raises:
        Unreachable: no answer in time.
    """
    client = admin_client(brokers)
    asked = list(names)
    answers = _answers_of_coordinators(
        lambda: client.describe_consumer_groups(asked, include_authorized_operations=True, request_timeout=ANSWER_S)
    )
    return _each(answers, "groups", lambda group: Granted(_operations(group), members=len(group.members)))


def _answers_of_coordinators(ask: Callable[[], Mapping[str, Future[Any]]]) -> Mapping[str, Future[Any]]:
    """Asks until every group has a coordinator, for a limited time: on a new cluster, it takes a moment."""
    until_s = monotonic() + ANSWER_S
    while True:
        answers = ask()
        failures = [answer.exception() for answer in answers.values()]
        codes = {failure.args[0].code() for failure in failures if isinstance(failure, KafkaException)}
        if codes.isdisjoint(COORDINATOR_CHANGES) or monotonic() > until_s:
            return answers
        sleep(COORDINATOR_WAIT_S)


def _each(answers: Mapping[str, Future[Any]], what: str, seen: Callable[[Any], Granted]) -> dict[str, Granted]:
    found: dict[str, Granted] = {}
    for name, answer in answers.items():
        try:
            found[name] = seen(answer.result())
        except KafkaException as error:
            if error.args[0].code() in RIGHTS:
                found[name] = Granted()
            elif error.args[0].code() not in ABSENT:
                raise Unreachable(f"Kafka did not describe its {what}: {error.args[0].str()}") from error
    return found


def _topic(topic: Any) -> Granted:
    partitions = topic.partitions
    in_sync = tuple(len(one.isr) if one.leader is not None else 0 for one in partitions)
    return Granted(_operations(topic), tuple(len(one.replicas) for one in partitions), in_sync)


def _operations(described: Any) -> frozenset[str] | None:
    granted = described.authorized_operations
    return None if granted is None else frozenset(operation.name for operation in granted)


def topic_configs(brokers: Kafka, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns the configuration of each topic, the brokers' defaults included; omits those that it may not read.

    Raises:
        Unreachable: no answer in time.
    """
    client = admin_client(brokers)
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    for resource, answer in client.describe_configs(asked, request_timeout=ANSWER_S).items():
        try:
            found[str(resource.name)] = {name: str(entry.value) for name, entry in answer.result().items()}
        except KafkaException as error:
            if error.args[0].code() not in RIGHTS | ABSENT:
                raise Unreachable(f"Kafka did not describe {resource.name}: {error.args[0].str()}") from error
    return found


def committed_offsets(brokers: Kafka, group: str) -> dict[TopicPartition, int]:
    """Returns the offsets that a group has committed, in all topics.

    Raises:
        Unreachable: no answer in time, or the right is missing.
    """
    client = admin_client(brokers)
    answers = _answers_of_coordinators(
        lambda: client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_S)
    )
    try:
        (found,) = (answer.result().topic_partitions for answer in answers.values())
    except KafkaException as error:
        raise Unreachable(f"Kafka did not return the offsets of group {group}: {error.args[0].str()}") from error
    return {TopicPartition(at.topic, at.partition): at.offset for at in found if at.offset >= 0}


def rights_by_user(brokers: Kafka) -> dict[str, frozenset[Right]]:
    """Returns the rights that are granted to each user.

    Empty if the brokers have no authorizer, and also if the login may not list rights: the client library does not
    tell these apart.

    Raises:
        Unreachable: no answer in time.
    """
    client = admin_client(brokers)
    anyone: Any = None  # the library's types do not know that None matches everything
    anything = AclBindingFilter(
        *(ResourceType.ANY, anyone, ResourcePatternType.ANY, anyone, anyone),
        *(AclOperation.ANY, AclPermissionType.ALLOW),
    )
    try:
        bindings = client.describe_acls(anything, request_timeout=ANSWER_S).result()
    except KafkaException as error:
        if error.args[0].code() in {*RIGHTS, KafkaError.SECURITY_DISABLED}:
            return {}
        raise Unreachable(f"Kafka did not list the rights: {error.args[0].str()}") from error
    found: dict[str, set[Right]] = {}
    for one in bindings:
        found.setdefault(one.principal, set()).update(_rights(one))
    return {user: frozenset(rights) for user, rights in found.items()}


def _rights(binding: Any) -> Iterator[Right]:
    """Yields the right of a binding; one for each operation that pmflow needs if the binding allows all."""
    if binding.restype not in (ResourceType.TOPIC, ResourceType.GROUP):
        return
    resource: Literal["topic", "group"] = "topic" if binding.restype == ResourceType.TOPIC else "group"
    is_prefix = binding.resource_pattern_type == ResourcePatternType.PREFIXED or binding.name == ANY_NAME
    name = "" if binding.name == ANY_NAME else binding.name
    for operation in get_args(Operation):
        if binding.operation in (AclOperation.ALL, acl_operation(operation)):
            yield Right(resource, name, operation, is_prefix)


def acl_operation(operation: Operation) -> AclOperation:
    """Returns the client library's name of an operation."""
    return AclOperation[re.sub("(?<=[a-z])(?=[A-Z])", "_", operation).upper()]
