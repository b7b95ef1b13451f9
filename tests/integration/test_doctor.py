"""`pmflow doctor` on real servers: nothing is wrong with a good stack, and each thing that is broken is found."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
import pytest
import yaml
from typer.testing import CliRunner

from services.scanner.leader import Leadership
from services.scanner.settings import Zookeeper
from services.scanner.state import SystemState
from shared import topics
from shared.kafka.admin import provision
from tools.cli.doctor.command import AREAS
from tools.cli.main import app
from tools.devstack.stack import Stack

Findings = list[dict[str, str]]


class Doctor:
    """Runs the doctor on a configuration of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.folder = folder
        self.system = f"s{uuid4().hex[:8]}"
        self.config: dict[str, dict[str, Any]] = {
            "kafka": {"bootstrap-servers": stack.kafka.bootstrap_servers},
            "zookeeper": {"connectionString": stack.zookeeper},
            "mysql": {"host": stack.mysql_host, "port": stack.mysql_port, "user": "root", "database": self.system},
            "clickhouse": {"url": f"{stack.clickhouse_url}/{self.system}"},
            self.system: {"isUsingClickhouse": True, "inventory": str(folder / "inventory.yaml")},
        }
        self.wanted = {topic.name: topic for topic in topics.provisioned([self.system])}
        (folder / "local").mkdir()
        at = {"name": "enb-1", "protocol": "local", "directory": str(folder / "local")}
        (folder / "inventory.yaml").write_text(yaml.safe_dump([at]))

    def environment(self) -> dict[str, str]:
        (self.folder / "pmflow.yaml").write_text(yaml.safe_dump(self.config))
        return {"PMFLOW_CONFIG": str(self.folder / "pmflow.yaml")}

    def findings(self, *areas: str) -> Findings:
        ran = CliRunner().invoke(app, ["doctor", "--json", "--only", ",".join(areas)], env=self.environment())
        found = [json.loads(line) for line in ran.stdout.splitlines()]
        assert ran.exit_code == int(any(one["severity"] == "error" for one in found)), ran.output
        return found

    def errors(self, *areas: str) -> Findings:
        return [one for one in self.findings(*areas) if one["severity"] == "error"]


@pytest.fixture
def doctor(stack: Stack, tmp_path: Path) -> Doctor:
    return Doctor(stack, tmp_path)


@pytest.fixture
def provisioned(doctor: Doctor, stack: Stack) -> Doctor:
    provision(stack.kafka, doctor.wanted.values())
    return doctor


def execute(stack: Stack, *statements: str) -> Any:
    connection = pymysql.connect(host=stack.mysql_host, port=stack.mysql_port, user="root")
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def test_a_good_stack_has_no_error_and_services_that_do_not_run_are_warnings(provisioned: Doctor) -> None:
    found = provisioned.findings()
    assert [one for one in found if one["severity"] == "error"] == []
    assert {one["area"] for one in found} == {area.name for area in AREAS}
    warnings = "\n".join(one["found"] for one in found if one["severity"] == "warning")
    for said in ("topic has 1 replica", "fetcher does not run", "tracker does not run", "no scanner runs"):
        assert said in warnings
    assert {one["remedy"] for one in found if "does not run" in one["found"]} >= {"start it: pmflow run fetcher"}


def test_dead_servers_are_told_side_by_side_within_the_time_of_one(doctor: Doctor) -> None:
    doctor.config["kafka"]["bootstrap-servers"] = "127.0.0.1:1"
    doctor.config["zookeeper"]["connectionString"] = "127.0.0.1:1"
    doctor.config["mysql"]["port"] = 1
    doctor.config["clickhouse"]["url"] = "http://127.0.0.1:1/pmflow"
    began_s = time.monotonic()
    argv = [sys.executable, "-m", "tools.cli", "doctor"]
    ran = subprocess.run(argv, env=doctor.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert time.monotonic() - began_s < 25
    assert ran.returncode == 1
    assert ran.stderr == ""
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    output = " ".join(ran.stdout.split())
    for said in (
        "check kafka.bootstrap-servers", "check zookeeper.connection-string", "check mysql.host",
        "check clickhouse.url", "skipped not checked, as it needs brokers", "4 errors",
    ):  # fmt: skip
        assert said in output


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_servers_that_accept_and_never_answer_end_with_an_error_each(doctor: Doctor, silent: int) -> None:
    doctor.config["kafka"]["bootstrap-servers"] = f"127.0.0.1:{silent}"
    doctor.config["zookeeper"]["connectionString"] = f"127.0.0.1:{silent}"
    doctor.config["mysql"]["port"] = silent
    doctor.config["clickhouse"]["url"] = f"http://127.0.0.1:{silent}/pmflow"
    began_s = time.monotonic()
    errors = doctor.errors("brokers", "zookeeper", "mysql", "clickhouse")
    assert time.monotonic() - began_s < 25
    assert [one["area"] for one in errors] == ["brokers", "zookeeper", "mysql", "clickhouse"]


def test_missing_topics_are_found(doctor: Doctor) -> None:
    (error,) = doctor.errors("topics")
    assert f"pm.counters.{doctor.system}" in error["found"]
    assert error["remedy"] == "pmflow topics create"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"partitions": 3}, "3 partitions instead of 12"),
        ({"retention_ms": 3_600_000}, "keeps records for 1 hours"),
        ({"compacted": True}, "cleanup.policy is compact,delete instead of delete"),
        ({"max_bytes": 100_000}, "max.message.bytes is 100,000"),
    ],
)
def test_a_topic_that_somebody_created_otherwise_is_found(
    doctor: Doctor, stack: Stack, changed: dict[str, Any], said: str
) -> None:
    name = topics.counters_topic(doctor.system).name
    provision(
        stack.kafka, [replace(topic, **(changed if topic.name == name else {})) for topic in doctor.wanted.values()]
    )
    (error,) = doctor.errors("topics")
    assert said in error["found"]
    assert error["found"].endswith(f": {name}")


def test_mysql_that_refuses_the_login_or_lacks_rights_is_found(doctor: Doctor, stack: Stack) -> None:
    user = doctor.system
    execute(stack, f"CREATE USER {user} IDENTIFIED BY 'right'", f"GRANT SELECT ON {user}.* TO {user}")
    doctor.config["mysql"] |= {"user": user, "password": "wrong"}
    (refused,) = doctor.errors("mysql")
    assert f"user '{user}'" in refused["found"]
    assert "mysql.password or password-file" in refused["remedy"]
    doctor.config["mysql"]["password"] = "right"
    (missing,) = doctor.errors("mysql")
    assert "does not exist" in missing["found"]
    execute(stack, f"CREATE DATABASE {user}")
    (lacking,) = doctor.errors("mysql")
    assert "ALTER, CREATE, DELETE, DROP, INSERT, UPDATE" in lacking["found"]
    execute(stack, lacking["remedy"])
    assert doctor.errors("mysql") == []
    execute(stack, f"DROP DATABASE {user}", f"DROP USER {user}")


def test_variables_of_mysql_that_harm_are_found(doctor: Doctor, stack: Stack) -> None:
    names = ("max_allowed_packet", "innodb_flush_log_at_trx_commit")
    (before,) = execute(stack, f"SELECT {', '.join(f'@@global.{name}' for name in names)}")
    try:
        execute(stack, "SET GLOBAL max_allowed_packet = 1048576", "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
                "SET GLOBAL time_zone = '+07:00'")  # fmt: skip
        found = {one["found"]: one["severity"] for one in doctor.findings("mysql") if one["severity"] != "ok"}
    finally:
        execute(stack, *(f"SET GLOBAL {name} = {value}" for name, value in zip(names, before, strict=True)),
                "SET GLOBAL time_zone = 'SYSTEM'")  # fmt: skip
    assert found == {
        "max_allowed_packet is 1,048,576 bytes": "error",
        "innodb_flush_log_at_trx_commit is 2": "warning",
        "time zone of the server: +07:00": "warning",
    }


def test_a_password_file_that_does_not_exist_is_an_error_with_its_name(doctor: Doctor) -> None:
    doctor.config["mysql"]["password-file"] = "/nowhere"
    (error,) = doctor.errors("mysql")
    assert "/nowhere" in error["found"]


def test_what_scanners_report_is_shown(doctor: Doctor, stack: Stack) -> None:
    leadership = Leadership(Zookeeper(connection_string=stack.zookeeper), "scanner-1")
    leadership.report(SystemState(system=doctor.system, state="failed", since_s=time.time(), reason="KeyError('x')"))
    (error,) = doctor.errors("zookeeper")
    leadership.close()
    assert "failed in scanner scanner-1: KeyError('x')" in error["found"]
