"""`pmflow topics`: creates the topics, and lists the rights that each service needs on them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer
import yaml

from shared import settings, topics
from shared.kafka import admin
from shared.kafka.permissions import grant_rights
from shared.kafka.reach import reach
from shared.rights import KAFKA_OPERATOR, Right, rights
from shared.settings import SERVICES
from tools.cli.operate.ready import COMMAND_REACH_S
from tools.cli.output import say, say_lines

app = typer.Typer(no_args_is_help=True, help="Create the Kafka topics, and list the rights that they need.")
AclForm = Literal["commands", "strimzi"]


@app.command("create")
def create_topics() -> None:
    """Create the topics that are missing; run this before the services start."""
    found = settings.load()
    reach(found.kafka, COMMAND_REACH_S)
    wanted = topics.provisioned(system.name for system in found.systems)
    for name, what in admin.provision(found.kafka, wanted).items():
        say(f"{what:8} {name}")


@app.command("acls")
def list_acls(
    form: Annotated[AclForm, typer.Option("--format", help="kafka-acls commands, or KafkaUser manifests")] = "commands",
    prefix: Annotated[str, typer.Option(help="text before each service's name in the names of the users")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="grant them, by a login that may change rights")] = False,
    cluster: Annotated[str, typer.Option(help="strimzi: name of the Kafka cluster")] = "kafka",
) -> None:
    """List the rights that each service needs in Kafka, and no more; new systems need no new rights."""
    principals = (*SERVICES, KAFKA_OPERATOR)
    if apply:
        brokers = settings.load().kafka
        reach(brokers, COMMAND_REACH_S)
        for name in principals:
            grant_rights(brokers, name, f"{prefix}{name}")
            say(f"granted  {prefix}{name}: {len(rights(name))} rights")
        return
    if form == "strimzi":
        say_lines(yaml.safe_dump_all((kafka_user(name, prefix, cluster) for name in principals), sort_keys=False))
        return
    servers = settings.load().kafka.bootstrap_servers
    for name in principals:
        for line in acl_commands(name, prefix, servers):
            say(line)


def acl_commands(principal: str, prefix: str, servers: str) -> Iterator[str]:
    """Yields the commands that give a service its rights, one per topic or group."""
    for (resource, name, is_prefix), operations in _by_resource(principal).items():
        pattern = " --resource-pattern-type prefixed" if is_prefix else ""
        granted = " ".join(f"--operation {operation}" for operation in operations)
        yield (
            f"kafka-acls --bootstrap-server {servers} --add --allow-principal User:{prefix}{principal} "
            f"{granted} --{resource} {name}{pattern}"
        )


def kafka_user(principal: str, prefix: str, cluster: str) -> dict[str, Any]:
    """Returns Strimzi's manifest of a service's user."""
    acls = [
        {
            "resource": {"type": resource, "name": name, "patternType": "prefix" if is_prefix else "literal"},
            "operations": operations,
        }
        for (resource, name, is_prefix), operations in _by_resource(principal).items()
    ]
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {
            "name": f"{prefix}{principal}".replace("_", "-"),
            "labels": {"strimzi.io/cluster": cluster},
        },
        "spec": {"authentication": {"type": "scram-sha-512"}, "authorization": {"type": "simple", "acls": acls}},
    }


def _by_resource(principal: str) -> dict[tuple[str, str, bool], list[str]]:
    found: dict[tuple[str, str, bool], list[str]] = {}
    one: Right
    for one in rights(principal):
        found.setdefault((one.resource, one.name, one.is_prefix), []).append(one.operation)
    return found
