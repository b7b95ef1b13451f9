"""Checks the rights in Kafka: those of the login, and those of each service where the login may list them."""

from collections.abc import Collection, Iterator, Mapping

from shared.kafka.cluster import rights_by_user
from shared.kafka.permissions import lacking
from shared.rights import Right, rights
from shared.settings import SERVICES
from tools.cli.doctor.findings import Finding, Installation

REMEDY = "run the commands that pmflow topics acls prints"
IMPLIED_BY = {"Describe": ("Read", "Write")}
"""Operation -> operations whose right includes it."""


def check_access(installation: Installation) -> Iterator[Finding]:
    """Yields the rights that are missing."""
    settings, service = installation.settings, installation.service
    brokers = settings.kafka
    missing = lacking(brokers, service, (system.name for system in settings.systems))
    if missing:
        meaning = "the command line is refused" if service not in SERVICES else f"the {service} exits with status 70"
        yield Finding(
            "error", f"{brokers.principal} lacks the rights of {service}: {', '.join(missing)}", meaning, REMEDY
        )
    else:
        yield Finding("ok", f"{brokers.principal} has the rights of {service}")
    granted = rights_by_user(brokers)
    if granted:
        yield from (_of_service(name, granted) for name in SERVICES)
    else:
        yield Finding(
            "ok",
            "rights of the services: unknown, as the brokers list none to this login; "
            "pmflow doctor --service NAME with the login of a service checks its own",
        )


def _of_service(service: str, granted: Mapping[str, Collection[Right]]) -> Finding:
    needed = rights(service)
    missing = {user: [right for right in needed if not is_granted(right, known)] for user, known in granted.items()}
    user = min(missing, key=lambda name: (len(missing[name]), service not in name))
    if not missing[user]:
        return Finding("ok", f"{user} has the rights of {service}")
    text = ", ".join(f"{right.operation} on {right.resource} {right.name}" for right in missing[user])
    meaning = f"the {service} exits with status 70, unless it is a super user"
    return Finding("warning", f"no user has all rights of {service}: {user} lacks {text}", meaning, REMEDY)


def is_granted(right: Right, granted: Collection[Right]) -> bool:
    """Returns whether a right is among those granted, or included in one of them."""
    operations = {right.operation, *IMPLIED_BY.get(right.operation, ())}
    return any(
        one.resource == right.resource and one.operation in operations and _covers(one, right) for one in granted
    )


def _covers(granted: Right, right: Right) -> bool:
    if granted.is_prefix:
        return right.name.startswith(granted.name)
    return granted.name == right.name and not right.is_prefix
