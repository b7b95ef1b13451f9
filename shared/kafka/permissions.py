"""Checks when a process starts that Kafka grants what it needs, and grants it where an operator asks for that."""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from shared.configuration.kafka import Kafka
from shared.configuration.resolve import BadSettings
from shared.crash import EXIT_CRASHED
from shared.errors import Unreachable
from shared.kafka.admin import admin_client
from shared.kafka.reach import RIGHTS, reach
from shared.kafka.record import KafkaFailure
from shared.rights import Right, rights
from shared.topics import provisioned

log = logging.getLogger(__name__)
ANSWER_S = 10


def require_access(brokers: Kafka, service: str, systems: Iterable[str]) -> None:
    """Ends the process if Kafka refuses its login or a right that it needs.

    Brokers that do not answer are only warned of: they may start later, and all clients go on trying.
    """
    try:
        reach(brokers)
        _require(lacking(brokers, service, systems), brokers)
    except Unreachable as error:
        log.warning("no broker answers yet", extra={"reason": str(error)})
    except (KafkaFailure, BadSettings) as error:
        log.error("process exits, as Kafka refused it", extra={"reason": str(error)})  # noqa: TRY400 - the reason suffices
        sys.exit(EXIT_CRASHED)


def _require(refused: Sequence[str], brokers: Kafka) -> None:
    if refused:
        raise KafkaFailure(
            f"{brokers.principal} lacks rights in Kafka: {', '.join(refused)}; "
            "`pmflow topics acls` prints the commands that grant them"
        )


def lacking(brokers: Kafka, service: str, systems: Iterable[str]) -> list[str]:
    """Returns the rights that the brokers do not grant, such as `Read on topic pm.cycles`.

    Topics that do not exist are passed over, and so are groups that other rights imply. A cluster without
    an authorizer grants everything.

    Raises:
        Unreachable: no answer in time.
    """
    client = admin_client(brokers)
    needed = rights(service)
    try:
        return [*_of_topics(client, needed, systems), *_of_groups(client, needed)]
    except KafkaException as error:
        raise Unreachable(f"Kafka did not list the rights of {brokers.principal}: {error.args[0].str()}") from error


def _of_topics(client: AdminClient, needed: Iterable[Right], systems: Iterable[str]) -> Iterator[str]:
    wanted: dict[str, set[str]] = {}
    names = [topic.name for topic in provisioned(systems)]
    for right in (right for right in needed if right.resource == "topic"):
        for name in names:
            if name.startswith(right.name) if right.is_prefix else name == right.name:
                wanted.setdefault(name, set()).add(right.operation)
    for name, granted in _granted(client, wanted).items():
        yield from _refused(wanted[name], granted, f"topic {name}")


def granted_on_topics(brokers: Kafka, names: Iterable[str]) -> dict[str, set[str]]:
    """Returns topic -> the operations that a login may do with it, such as READ; omits topics that do not exist."""
    client = admin_client(brokers)
    return {name: granted or set() for name, granted in _granted(client, names).items()}


def _granted(client: AdminClient, topics: Iterable[str]) -> dict[str, set[str] | None]:
    """Returns topic -> operations; None if the broker does not say."""
    names = TopicCollection(list(topics))
    return _operations(client.describe_topics(names, include_authorized_operations=True, request_timeout=ANSWER_S))


def _operations(answers: Mapping[str, Future[Any]]) -> dict[str, set[str] | None]:
    """Returns what the broker grants by name: nothing where it refuses to answer, None where it does not say.

    What does not exist is left out.
    """
    found: dict[str, set[str] | None] = {}
    for name, answer in answers.items():
        try:
            operations = answer.result().authorized_operations
        except KafkaException as error:
            if error.args[0].code() in RIGHTS:
                found[name] = set()
        else:
            found[name] = None if operations is None else {operation.name for operation in operations}
    return found


def _of_groups(client: AdminClient, needed: Iterable[Right]) -> Iterator[str]:
    groups = [right.name for right in needed if right.resource == "group" and right.operation == "Read"]
    if not groups:
        return
    answers = client.describe_consumer_groups(groups, include_authorized_operations=True, request_timeout=ANSWER_S)
    for name, granted in _operations(answers).items():
        yield from _refused({"Read"}, granted, f"group {name}")


def _refused(wanted: Iterable[str], granted: set[str] | None, where: str) -> Iterator[str]:
    if granted is not None:
        yield from (f"{operation} on {where}" for operation in sorted(wanted) if operation.upper() not in granted)


def grant_rights(brokers: Kafka, principal: str, user: str) -> None:
    """Gives a user the rights of a service, or of the operator; the login must be one that may do so.

    Raises:
        KafkaFailure: Kafka refused.
    """
    client = admin_client(brokers)  # lives until it has answered
    bindings = [_binding(user, right) for right in rights(principal)]
    try:
        for created in client.create_acls(bindings).values():
            created.result()
    except KafkaException as error:
        raise KafkaFailure(f"rights of {user} not granted: {error.args[0].str()}") from error


def _binding(user: str, right: Right) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if right.is_prefix else ResourcePatternType.LITERAL
    operation, resource = AclOperation[right.operation.upper()], ResourceType[right.resource.upper()]
    return AclBinding(resource, right.name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
