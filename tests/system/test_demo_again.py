"""`pmflow demo` works whatever an earlier demo left behind: each test starts with the state of the one before."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from shared.settings import SERVICES
from tools.cli.dev.demo import MUST_RUN
from tools.devstack import processes
from tools.devstack import stack as devstack

PMFLOW = [sys.executable, "-m", "tools.cli"]
SMALL = ["--elements", "1", "--cycles", "2", "--cycle-s", "1"]
VALUES = re.compile(r"│ (mysql|clickhouse) +│ (\w+) +│" + r" +([\d,]+) +│" * 5)


@dataclass(frozen=True)
class Demo:
    """A demo as a user starts it: the first process of a terminal's process group."""

    process: subprocess.Popen[bytes]
    output: Path

    def wait_until_runs(self, home: Path, name: str) -> processes.Process:
        """Waits until this demo has started a process; one that an earlier demo left does not count."""
        until_s = monotonic() + 60
        while "starting Kafka" not in self.text() or (found := processes.find(home, name)) is None:
            assert self.process.poll() is None, self.text()
            assert monotonic() < until_s, f"{name} does not start"
            Event().wait(0.01)
        return found

    def text(self) -> str:
        return self.output.read_text()

    def ended(self, within_s: float = 120) -> int:
        code = self.process.wait(within_s)
        assert "Traceback" not in self.text()
        return code


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all tests."""
    found = tmp_path_factory.mktemp("demo")
    try:
        yield found
    finally:
        devstack.reset(found)


@pytest.fixture
def demos(home: Path, tmp_path: Path) -> Iterator[list[Demo]]:
    """All demos of a test; none is left running."""
    started: list[Demo] = []
    yield started
    for demo in started:
        demo.process.kill()
        demo.process.wait()


def start(home: Path, demos: list[Demo]) -> Demo:
    output = home.with_name(f"{home.name}-{len(demos)}.txt")
    argv = [*PMFLOW, "demo", "--home", str(home), *SMALL]
    env = {**os.environ, "COLUMNS": "200"}
    with output.open("wb") as file:
        process = subprocess.Popen(
            argv, cwd=devstack.REPOSITORY, env=env, stdout=file, stderr=file, start_new_session=True
        )
    demos.append(Demo(process, output))
    return demos[-1]


def down(home: Path) -> str:
    done = subprocess.run(
        [*PMFLOW, "dev", "down", "--home", str(home)],
        cwd=devstack.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert devstack.running_processes(home) == []
    return done.stdout


def verified(demo: Demo) -> None:
    """Checks that the demo succeeds, and that its table shows every value stored once and correctly."""
    assert demo.ended() == 0, demo.text()
    rows = {(sink, system): [int(n.replace(",", "")) for n in numbers] for sink, system, *numbers in values(demo)}
    assert rows.keys() == {("mysql", "4ga"), ("clickhouse", "4ga"), ("mysql", "5ga")}, demo.text()
    for expected, stored, *wrong in rows.values():
        assert stored == expected > 300
        assert wrong == [0, 0, 0]
    assert "cycle 2 of 2" in demo.text()


def values(demo: Demo) -> list[tuple[str, ...]]:
    return VALUES.findall(demo.text())


def names(home: Path) -> set[str]:
    return {process.name for process in devstack.running_processes(home)}


def test_after_make_down_it_verifies_every_value_again(home: Path, demos: list[Demo]) -> None:
    verified(start(home, demos))
    assert names(home) == set(MUST_RUN)
    stopped = down(home)
    assert all(name in stopped for name in MUST_RUN)
    verified(start(home, demos))


@pytest.mark.parametrize("at", ["zookeeper", "kafka", "tracker"])
def test_ctrl_c_prints_in_one_line_the_processes_that_still_run(home: Path, demos: list[Demo], at: str) -> None:
    demo = start(home, demos)
    demo.wait_until_runs(home, at)
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.ended(within_s=10) == 130
    (line,) = [line for line in demo.text().splitlines() if "interrupted" in line]
    told = line.partition("still running: ")[2].partition(";")[0].split(", ")
    assert set(told) == names(home) >= {at}
    assert f"pmflow dev down --home {home}" in line


def test_a_demo_takes_over_from_one_that_runs_and_make_down_ends_it(home: Path, demos: list[Demo]) -> None:
    first = start(home, demos)
    before = first.wait_until_runs(home, "tracker")
    second = start(home, demos)
    assert first.ended(within_s=30) == 143
    assert first.text().splitlines()[-1].startswith("stopped: ")
    assert second.wait_until_runs(home, "tracker") != before
    assert f"stopped the demo that was still running, pid {first.process.pid}" in second.text()
    assert "demo" in down(home)
    assert second.ended(within_s=10) == 143
    assert second.text().splitlines()[-1].startswith("stopped: ")


def test_a_service_that_ends_unexpectedly_is_named_with_its_log(home: Path, demos: list[Demo]) -> None:
    demo = start(home, demos)
    demo.wait_until_runs(home, SERVICES[-1])
    service = processes.find(home, "mysql_writer")
    assert service is not None
    service.kill()
    assert demo.ended(within_s=60) == 1
    assert f"the demo failed: mysql_writer has ended unexpectedly, see its log {service.log_path}" in demo.text()
    assert "still running: " in demo.text()


def test_after_a_kill_of_everything_it_verifies_every_value_on_other_ports(home: Path, demos: list[Demo]) -> None:
    """The state after a reboot: other programs have a server's port and a process's pid, and files are incomplete."""
    down(home)
    demo = start(home, demos)
    demo.wait_until_runs(home, "tracker")
    os.killpg(demo.process.pid, signal.SIGKILL)
    for process in devstack.running_processes(home):
        if process.pid != demo.process.pid:
            process.kill()
    (home / "overlay.yaml").write_text("kafka: {bootstrap")
    mine = processes.Process(home, "scanner", os.getpid(), "12345 another boot")
    mine.pid_file.write_text(json.dumps({"pid": mine.pid, "started": mine.started}))
    (home / "run" / "tracker.json").write_text('{"pid": 1')
    taken = devstack.Stack.load(home).ports["kafka"]
    with socket.create_server(("127.0.0.1", taken)):
        verified(start(home, demos))
        assert devstack.Stack.load(home).ports["kafka"] != taken
