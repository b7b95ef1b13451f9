"""The dev stack: real servers that keep their data when they are killed, and leave nothing behind when stopped."""

import json
import socket
import uuid
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pymysql
import pytest
import yaml

from shared import topics
from shared.kafka import admin
from tools.cli.operate import ledger
from tools.devstack import processes, stack
from tools.devstack.downloads import MissingPrerequisite, java
from tools.devstack.servers import NotReady
from tools.devstack.stack import COMPONENTS, Stack


def clickhouse(at: Stack, sql: str) -> bytes:
    with urlopen(Request(at.clickhouse_url, data=sql.encode()), timeout=30) as answer:
        return bytes(answer.read())


def refusal(at: Stack, sql: str) -> tuple[int, str | None]:
    """Returns the HTTP status and ClickHouse's error code."""
    with pytest.raises(HTTPError) as refused:
        clickhouse(at, sql)
    with refused.value as error:
        return error.code, error.headers["X-ClickHouse-Exception-Code"]


def mysql(at: Stack, *statements: str) -> tuple[tuple[object, ...], ...]:
    connection = pymysql.connect(host=at.mysql_host, port=at.mysql_port, user="root", autocommit=True)
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def test_a_killed_stack_restarts_with_its_data_on_its_ports_and_stops_without_a_trace(
    tmp_path: Path,
) -> None:
    try:
        first = stack.up(tmp_path)
        assert set(stack.component_states(tmp_path).values()) == {"ready"}
        admin.provision(first.kafka, [topics.FILES_FOUND])
        mysql(first, "CREATE DATABASE kept", "CREATE TABLE kept.t (a INT)", "INSERT INTO kept.t VALUES (7)")
        clickhouse(first, "CREATE TABLE kept (a Int32) ENGINE = MergeTree ORDER BY a")
        clickhouse(first, "INSERT INTO kept SELECT 7")

        for component in COMPONENTS:
            found = processes.find(tmp_path, component)
            assert found is not None
            found.kill()
        assert set(stack.component_states(tmp_path).values()) == {"stopped"}

        again = stack.up(tmp_path)
        assert again == first
        assert admin.ends(again.kafka, topics.FILES_FOUND) == {}
        assert list(ledger.topic_records(again.kafka, topics.FILES_FOUND)) == []
        assert set(admin.begins(again.kafka, topics.FILES_FOUND).values()) == {0}
        assert admin.provision(again.kafka, [topics.FILES_FOUND]) == {"pm.files.found": "kept"}
        assert mysql(again, "SELECT a FROM kept.t") == ((7,),)
        assert clickhouse(again, "SELECT a FROM kept") == b"7\n"
    finally:
        stack.down(tmp_path)
    assert processes.running(tmp_path) == []
    stack.reset(tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_port_that_another_program_has_taken_is_replaced_in_the_overlay_too(tmp_path: Path) -> None:
    try:
        first = stack.up(tmp_path)
        first.write_overlay({"4ga": {"counter-dictionary": "mine.yaml"}})
        stack.down(tmp_path)
        with socket.create_server(("127.0.0.1", first.ports["zookeeper"])):
            again = stack.up(tmp_path)
        assert stack.Stack.load(tmp_path) == again
        assert again.ports["zookeeper"] != first.ports["zookeeper"]
        assert again.ports == {**first.ports, "zookeeper": again.ports["zookeeper"]}
        overlay = yaml.safe_load(again.overlay_file.read_text())
        assert overlay["zookeeper"] == {"connectionString": again.zookeeper}
        assert overlay["4ga"]["counter-dictionary"] == "mine.yaml"
    finally:
        stack.reset(tmp_path)


def test_data_that_is_not_a_dev_stacks_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(NotReady, match="choose another --home"):
        stack.empty(tmp_path)
    assert (tmp_path / "data").exists()


def test_a_missing_jdk_is_reported_with_the_way_to_install_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPrerequisite, match="JDK 17 or newer is missing: apt-get install"):
        java()


def test_the_clickhouse_front_answers_like_clickhouse(stack: Stack) -> None:
    assert json.loads(clickhouse(stack, "SELECT 1, 'a' FORMAT JSONCompactEachRow")) == [1, "a"]
    table = f"t{uuid.uuid4().hex[:8]}"
    clickhouse(stack, f"CREATE TABLE {table} (a Int32, b String) ENGINE = MergeTree ORDER BY a")
    clickhouse(stack, f"INSERT INTO {table} FORMAT TSV\n1\tx\n2\ty\n")
    assert clickhouse(stack, f"SELECT b FROM {table} ORDER BY a") == b"x\ny\n"
    assert refusal(stack, f"INSERT INTO {table} FORMAT TSV\nno number\tx\n") == (500, "27")
    assert refusal(stack, "CREATE TABLE k (a Int32) ENGINE = Kafka('b', 't', 'g', 'TSV')") == (500, "48")
    assert clickhouse(stack, "SELECT 1") == b"1\n"
