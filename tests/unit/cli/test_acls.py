"""`pmflow topics acls`: the rights of each service, derived from the topics and from the groups in the code."""

import re
from pathlib import Path

import pytest

from shared.rights import JOINED_GROUPS, KAFKA_OPERATOR, NAMED_GROUPS, Right, rights
from shared.settings import SERVICES
from tools.cli.topics import acl_commands, kafka_user

ROOT = Path(__file__).parents[3]


def test_a_scanner_announces_and_reads_the_ledger_and_sees_no_counters() -> None:
    found = rights("scanner")
    assert Right("topic", "pm.files.found", "Write") in found
    assert Right("topic", "pm.files.status", "Read") in found
    assert not [right for right in found if right.name.startswith(("pm.counters", "pm.files.settle", "pmflow-tracker"))]


def test_a_fetcher_writes_counters_and_their_dead_letters_and_cannot_read_them() -> None:
    found = [right for right in rights("fetcher") if right.name.startswith("pm.counters")]
    assert found == [Right("topic", "pm.counters.", "Write", is_prefix=True)]


@pytest.mark.parametrize("service", ["mysql_writer", "ch_bridge"])
def test_a_sink_has_no_right_to_files_to_fetch_or_commands(service: str) -> None:
    assert not [right for right in rights(service) if right.name.startswith(("pm.files.found", "pm.files.settle"))]


def test_only_the_operator_creates_topics() -> None:
    creators = {name for name in (*SERVICES, KAFKA_OPERATOR) if any(r.operation == "Create" for r in rights(name))}
    assert creators == {KAFKA_OPERATOR}


@pytest.mark.parametrize("service", SERVICES)
def test_every_group_that_a_service_names_is_listed_and_no_other(service: str) -> None:
    code = "".join(file.read_text() for file in (ROOT / "services" / service).rglob("*.py"))
    named = set(re.findall(r'"(pmflow-(?:fetcher|mysql-writer|ch-bridge|tracker)[a-z-]*)"', code))
    listed = {*JOINED_GROUPS.get(service, ()), *NAMED_GROUPS.get(service, ())}
    assert named == {group for group in listed if not group.startswith("pmflow-reader-of")}


def test_commands_have_one_line_per_topic_or_group() -> None:
    lines = list(acl_commands("mysql_writer", "pm-", "b:9093"))
    assert (
        "kafka-acls --bootstrap-server b:9093 --add --allow-principal User:pm-mysql_writer "
        "--operation Read --operation Write --topic pm.counters. --resource-pattern-type prefixed"
    ) in lines
    assert len(lines) == len({line.rpartition(" --")[2] + line for line in lines})


def test_a_kafka_user_of_strimzi() -> None:
    user = kafka_user("mysql_writer", "", "site")
    assert user["metadata"] == {"name": "mysql-writer", "labels": {"strimzi.io/cluster": "site"}}
    assert {
        "resource": {"type": "topic", "name": "pm.counters.", "patternType": "prefix"},
        "operations": ["Read", "Write"],
    } in user["spec"]["authorization"]["acls"]
