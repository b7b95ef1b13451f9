"""Whatever a user can cause, a command ends soon, with one line that says what to do, and without a traceback."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest
import yaml

from shared import topics
from shared.kafka.admin import provision
from tools.devstack.stack import Stack

SYSTEM = "4gx"
"""A system whose topics do not exist, whatever other tests create."""
OF_TOPICS = (
    "status", "cycles", "errors", "trace x", "quarantine list", "quarantine show x", "quarantine retry x",
    f"replay --system {SYSTEM} --sink mysql", f"backfill --system {SYSTEM} --files x", "topics create",
    "topics acls --apply",
)  # fmt: skip
OF_MYSQL = ("verify --dir {folder}", f"partition --system {SYSTEM}")
OF_CLICKHOUSE = ("verify --dir {folder}",)
WITHOUT_TOPICS = ("errors", "quarantine list", f"replay --system {SYSTEM} --sink mysql")
ALL = (*OF_TOPICS, *OF_MYSQL, "topics acls")
WITHIN_S = 15.0
LONGEST_LINE = 650


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    took_s: float


CASES = {
    **{f"dead broker, {command}": "check kafka.bootstrap-servers" for command in OF_TOPICS},
    **{f"dead MySQL, {command}": "MySQL" for command in OF_MYSQL},
    **{f"dead ClickHouse, {command}": "check clickhouse.url" for command in OF_CLICKHOUSE},
    **{f"no topics, {command}": "run pmflow topics create" for command in WITHOUT_TOPICS},
    **{f"no configuration, {command}": "no such configuration file" for command in ALL},
    **{f"wrong configuration, {command}": "unknown key 'prot'" for command in OF_MYSQL},
    "no folder, verify --dir /nowhere": "/nowhere: no such folder",
    "no folder, docs /nowhere": "/nowhere/topics.md: No such file or directory",
    "no folder, simulate --dir /proc/nowhere": "/proc/nowhere",
    f"no folder, backfill --system {SYSTEM} --files @/nowhere": "/nowhere: No such file or directory",
}
"""Fault and command -> a part of the line."""


def configurations(stack: Stack, folder: Path) -> dict[str, str]:
    """Returns PMFLOW_CONFIG by what is broken."""
    good: dict[str, Any] = {
        "kafka": {"bootstrap-servers": stack.kafka.bootstrap_servers},
        "zookeeper": {"connectionString": stack.zookeeper},
        "mysql": {"host": "127.0.0.1", "port": stack.mysql_port, "user": "root", "database": SYSTEM},
        "clickhouse": {"url": f"{stack.clickhouse_url}/default"},
        SYSTEM: {"isUsingClickhouse": True, "retention-days": 1},
    }
    broken: dict[str, dict[str, Any]] = {
        "dead broker": {"kafka": {"bootstrap-servers": "127.0.0.1:1"}},
        "dead ZooKeeper": {"zookeeper": {"connectionString": "127.0.0.1:1"}},
        "dead MySQL": {"mysql": {"host": "127.0.0.1", "port": 1}},
        "dead ClickHouse": {"clickhouse": {"url": "http://127.0.0.1:1/pmflow"}},
        "wrong configuration": {"mysql": {"prot": 1}},
        "no topics": {},
        "no folder": {},
    }
    connection = pymysql.connect(host="127.0.0.1", port=stack.mysql_port, user="root")
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {SYSTEM}")
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {SYSTEM}.pm_object (id INT, element TEXT, ldn TEXT)")
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {SYSTEM}.pm_group (`system` TEXT, measinfo TEXT, part INT, `table_name` TEXT)"
        )
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {SYSTEM}.pm_counter (`table_name` TEXT, counter TEXT, `column_name` TEXT)"
        )
    for name, sections in broken.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(good | sections))
    return {name: str(folder / f"{name}.yaml") for name in (*broken, "no configuration")}


@pytest.fixture(scope="module")
def commands(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Ended]]]:
    """Runs all commands, some side by side: most of their time they wait."""
    folder = tmp_path_factory.mktemp("commands")
    files = configurations(stack, folder)
    (folder / "truth").mkdir()

    def run(case: str) -> Ended:
        broken, _, command = case.partition(", ")
        argv = [sys.executable, "-m", "tools.cli", *command.format(folder=folder / "truth").split()]
        env = {**os.environ, "PMFLOW_CONFIG": files[broken]}
        began_s = time.monotonic()
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)
        return Ended(ran.returncode, ran.stdout, ran.stderr, time.monotonic() - began_s)

    with ThreadPoolExecutor(3) as pool:
        yield {case: pool.submit(run, case) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_a_command_that_cannot_work_says_why_in_one_line_within_15_s(
    commands: Mapping[str, Future[Ended]], case: str
) -> None:
    ended = commands[case].result()
    assert (ended.code, ended.out) == (1, ""), ended
    assert ended.took_s < WITHIN_S
    assert ended.err.startswith("pmflow: ")
    assert ended.err.count("\n") == 1, ended.err
    assert len(ended.err) < LONGEST_LINE
    assert CASES[case] in ended.err
    assert "Traceback" not in ended.err
    assert "rdkafka" not in ended.err


def test_the_status_shows_files_without_zookeeper_and_says_what_is_not_shown(stack: Stack, tmp_path: Path) -> None:
    provision(stack.kafka, topics.provisioned([]))
    env = {**os.environ, "PMFLOW_CONFIG": configurations(stack, tmp_path)["dead ZooKeeper"]}
    argv = [sys.executable, "-m", "tools.cli", "status"]
    ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 1
    assert "files by stage" in ran.stdout
    assert ran.stderr.count("\n") == 1
    assert "check the section zookeeper" in ran.stderr


def test_debug_shows_the_traceback(stack: Stack, tmp_path: Path) -> None:
    env = {**os.environ, "PMFLOW_CONFIG": configurations(stack, tmp_path)["dead MySQL"]}
    argv = [sys.executable, "-m", "tools.cli", "--debug", "verify", "--dir", str(tmp_path)]
    ran = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
