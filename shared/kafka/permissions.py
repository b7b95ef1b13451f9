"""Checks when a process starts that Kafka grants what it needs, and grants it where an operator asks for that."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep

from confluent_kafka import KafkaException
from confluent_kafka.admin._acl import AclBinding, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from shared.configuration.kafka import Kafka
from shared.configuration.resolve import BadSettings
from shared.crash import EXIT_CRASHED
from shared.errors import Unreachable
from shared.health import OBSTACLES, process_ends
from shared.kafka.admin import admin_client
from shared.kafka.cluster import acl_operation, groups_as_seen, topics_as_seen
from shared.kafka.reach import reach, watch_brokers
from shared.kafka.record import KafkaFailure
from shared.metrics import serve_metrics
from shared.rights import Operation, Right, rights
from shared.settings import Settings
from shared.topics import provisioned

log = logging.getLogger(__name__)
REFUSAL_SHOWN_S = 20.0
"""Time for which /readyz tells why the process exits: longer than the interval of most probes."""


def require_access(settings: Settings, service: str) -> None:
    """Ends the process if Kafka refuses its login or a right that it needs; from then on, watches the brokers.

    The reason of a refusal stays in the health file, and for a while at /readyz. Brokers that do not answer are only
    reported: they may start later, and all clients go on trying.
    """
    brokers, report = settings.kafka, partial(OBSTACLES.report, "kafka")
    OBSTACLES.file = Path(settings.health.file) if settings.health.file else None
    try:
        reach(brokers)
        _require(lacking(brokers, service, (system.name for system in settings.systems)), brokers)
    except Unreachable as error:
        log.warning("no broker answers yet", extra={"reason": str(error)})
        report(str(error))
    except (KafkaFailure, BadSettings) as error:
        log.error("process exits, as Kafka refused it", extra={"reason": str(error)})  # noqa: TRY400 - the reason suffices
        report(str(error))
        process_ends(str(error))
        if settings.metrics.port:
            serve_metrics(service, settings)
            sleep(REFUSAL_SHOWN_S)
        sys.exit(EXIT_CRASHED)
    Thread(target=watch_brokers, args=(brokers, report), name="watch-brokers", daemon=True).start()


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
    needed = rights(service)
    return [*_of_topics(brokers, needed, systems), *_of_groups(brokers, needed)]


def _of_topics(brokers: Kafka, needed: Iterable[Right], systems: Iterable[str]) -> Iterator[str]:
    wanted: dict[str, set[Operation]] = {}
    names = [topic.name for topic in provisioned(systems)]
    for right in (right for right in needed if right.resource == "topic"):
        for name in names:
            if name.startswith(right.name) if right.is_prefix else name == right.name:
                wanted.setdefault(name, set()).add(right.operation)
    for name, seen in topics_as_seen(brokers, wanted).items():
        yield from _refused(wanted[name], seen.operations, f"topic {name}")


def _of_groups(brokers: Kafka, needed: Iterable[Right]) -> Iterator[str]:
    groups = [right.name for right in needed if right.resource == "group" and right.operation == "Read"]
    for name, seen in groups_as_seen(brokers, groups).items() if groups else ():
        yield from _refused({"Read"}, seen.operations, f"group {name}")


def _refused(wanted: Iterable[Operation], granted: frozenset[str] | None, where: str) -> Iterator[str]:
    for operation in sorted(wanted) if granted is not None else ():
        if acl_operation(operation).name not in (granted or ()):
            yield f"{operation} on {where}"


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
    operation, resource = acl_operation(right.operation), ResourceType[right.resource.upper()]
    return AclBinding(resource, right.name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
