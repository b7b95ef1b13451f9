"""The tracker on a real broker, in cases where Faust alone loses events: late topics, failures, stops, kills."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic, time

import pytest

from services.tracker.sweep import LedgerSweep
from shared.cycle_figures import CycleFigures
from shared.kafka import admin
from shared.kafka.consume import Consumer, OffsetRange, read_range
from shared.kafka.produce import Outgoing, Producer
from shared.messages import BadMessage, FileStatus, Settle, SinkPosition, Stage, partition_of
from shared.topics import FILES_SETTLE, FILES_STATUS, counters_topic, provisioned
from tools.cli.operate.cycles import read_cycles
from tools.devstack import stack as devstack
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]
ALWAYS_FAILS = """
from services.tracker import __main__, app, tracker
def fails(*_): raise ValueError("planted")
tracker.FileProcessingTracker.on_status = fails
__main__.main()
"""
DEAF = """
from services.tracker import __main__, app
app.messages_for = lambda *_: []
__main__.main()
"""
HANGS = """
import asyncio
from services.tracker import __main__, app
async def never(_): await asyncio.Event().wait()
app.PendingAcks.acknowledge = never
__main__.main()
"""


class Tracked:
    """Writes files to the ledger and reads the commands; runs trackers as processes."""

    def __init__(self, stack: Stack, home: Path) -> None:
        self.brokers = stack.kafka
        self.run = uuid.uuid4().hex[:8]
        self.log = (home / "tracker.log").open("ab")
        config = home / "pmflow.yaml"
        inventory = home / "inventory.yaml"
        inventory.write_text("- {name: e0}\n- {name: e1}\n- {name: absent}\n")
        config.write_text(
            f"kafka: {{bootstrap_servers: '{stack.kafka.bootstrap_servers}'}}\n"
            "tracker: {look_s: 0.5, session_timeout_s: 6}\n"
            f"4ga: {{isUsingClickhouse: false, inventory: '{inventory}'}}\n"
        )
        self.health = home / "health"
        self.env = {"PMFLOW_CONFIG": str(config), "PYTHONPATH": str(ROOT), "PMFLOW_HEALTH__FILE": str(self.health)}
        admin.provision(self.brokers, provisioned(["4ga"]))
        self.producer = Producer(self.brokers)
        self.reader = Consumer(self.brokers, self.run)
        self.reader.subscribe([FILES_SETTLE.name])
        self.commanded: set[str] = set()
        self.started: list[subprocess.Popen[bytes]] = []
        self.kept: dict[subprocess.Popen[bytes], Callable[[], object]] = {}

    def start(self, *code: str, kept: bool = False, **own: float) -> "subprocess.Popen[bytes]":
        """Starts a tracker; one that is kept is restarted when it exits by itself, as a supervisor would."""
        argv = [sys.executable, *(code or ("-m", "services.tracker"))]
        env = self.env | {f"PMFLOW_TRACKER__{name.upper()}": str(value) for name, value in own.items()}
        process = subprocess.Popen(argv, env=env, cwd=ROOT, stdout=self.log, stderr=self.log)
        self.started.append(process)
        if kept:
            self.kept[process] = partial(self.start, *code, kept=True, **own)
        return process

    def end(self, process: "subprocess.Popen[bytes]", how: signal.Signals = signal.SIGKILL) -> None:
        self.kept.pop(process, None)
        process.send_signal(how)
        process.wait(30)

    def tell(self, first: int, beyond: int, end_s: int = 0, stage: Stage = "parsed") -> set[str]:
        """Writes files to the ledger at a stage; returns their ids."""
        ids = [f"{self.run}{n:08}" for n in range(first, beyond)]
        told = []
        for n, file_id in enumerate(ids, first):
            element = f"e{n % 24}"
            status = FileStatus(
                file_id=file_id, system="4ga", endpoint=element, element=element, path=f"/pm/{file_id}", size=1,
                mtime_s=1, epoch=1, end_s=end_s, stage=stage, at_s=1.0, topic=counters_topic("4ga").name,
                partition=partition_of(element), last_offset=n, values=1,
            )  # fmt: skip
            told.append(Outgoing(FILES_STATUS.name, status.partition, file_id, status.encode()))
        self.producer.deliver(*told)
        return set(ids)

    def store(self, next_offset: int) -> None:
        """Reports the position of MySQL in every partition."""
        topic = counters_topic("4ga").name
        self.producer.deliver(
            *(
                Outgoing(
                    FILES_STATUS.name,
                    p,
                    f"mysql/{topic}/{p}",
                    SinkPosition(sink="mysql", topic=topic, partition=p, next_offset=next_offset).encode(),
                )
                for p in range(FILES_STATUS.partitions)
            )
        )

    def wait_for(self, files: set[str], within_s: float = 60.0) -> None:
        self.wait_until(lambda: files <= self.commanded, within_s, lambda: f"{len(files - self.commanded)} left")

    def wait_until(self, true: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
        until_s = monotonic() + within_s
        while not true():
            assert monotonic() < until_s, what()
            for process in [process for process in self.kept if process.poll() is not None]:
                self.kept.pop(process)()
            for record in self.reader.poll(1000, 0.2):
                with suppress(BadMessage):  # of another test
                    self.commanded.add(Settle.decode(record.value or b"").file_id)

    def close(self) -> None:
        for process in self.started:
            process.terminate()  # leaves the group: one that is killed keeps the next test's tracker waiting for 10 s
        for process in self.started:
            process.wait(30)
        self.reader.close()
        self.producer.close()
        self.log.close()


@pytest.fixture
def tracked(stack: Stack, tmp_path: Path) -> Iterator[Tracked]:
    tracked = Tracked(stack, tmp_path)
    yield tracked
    tracked.close()


def test_a_tracker_exits_with_a_message_if_a_topic_is_missing(stack: Stack, tmp_path: Path) -> None:
    absent = tmp_path / "absent.py"
    absent.write_text(
        "from dataclasses import replace\nfrom services.tracker import wiring as m\n"
        "m.FILES_STATUS = replace(m.FILES_STATUS, name='pm.files.status.absent')\nm.main()\n"
    )
    env = {"PMFLOW_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, str(absent)], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "no topic pm.files.status.absent" in ended.stderr
    assert "pmflow topics create" in ended.stderr


def test_an_event_that_failed_is_not_acknowledged_and_comes_again(tracked: Tracked) -> None:
    tracked.env["PMFLOW_DEFECTS__MOST"] = "0"
    first = tracked.start("-c", ALWAYS_FAILS)
    del tracked.env["PMFLOW_DEFECTS__MOST"]
    files = tracked.tell(0, 10)
    assert first.wait(60) == 70
    tracked.start()
    tracked.store(10)
    tracked.wait_for(files)


def test_a_tracker_without_progress_has_no_heartbeat_and_one_with_nothing_to_do_has(
    tracked: Tracked,
) -> None:
    hangs = tracked.start("-c", HANGS)
    tracked.tell(0, 24)

    def noticed() -> bool:
        return "no progress, though" in (tracked.health.parent / "tracker.log").read_text()

    tracked.wait_until(noticed, 60, lambda: "not noticed")
    tracked.end(hangs)
    tracked.health.unlink(missing_ok=True)  # of its first look, when it had just been given its partitions
    tracked.start()
    tracked.wait_until(tracked.health.exists, 60, lambda: "no sign of life")


def test_events_cut_short_by_a_stop_or_a_kill_come_again(tracked: Tracked) -> None:
    tracked.store(0)
    files = tracked.tell(0, 2000)
    for how, stored in ((signal.SIGTERM, 700), (signal.SIGKILL, 1400)):
        process = tracked.start()
        before = set(tracked.commanded)
        tracked.store(stored)
        tracked.wait_until(lambda before=before: bool(files & tracked.commanded - before), 60, lambda: "a command")  # type: ignore[misc]
        tracked.end(process, how)
    tracked.start()
    tracked.store(2000)
    tracked.wait_for(files)


def test_a_file_that_faust_drops_is_commanded_nevertheless(tracked: Tracked) -> None:
    """Faust may do so between two rebalances: it delivers later records and never these."""
    tracked.start("-c", DEAF, lease_s=1)
    files = tracked.tell(0, 24)
    tracked.store(24)
    tracked.wait_for(files)


def test_no_file_is_stuck_when_trackers_come_and_go_and_the_broker_is_restarted(tracked: Tracked, stack: Stack) -> None:
    tracked.start(kept=True, lease_s=5)
    files = tracked.tell(0, 200)
    second = tracked.start(lease_s=5)
    files |= tracked.tell(200, 400)
    tracked.store(300)
    tracked.wait_until(lambda: bool(files & tracked.commanded), 60, lambda: "the first command")
    tracked.end(second)
    files |= tracked.tell(400, 600)
    tracked.store(600)
    tracked.wait_for(files, 90)
    devstack.stop_component(stack.home, "kafka")
    devstack.start_component(stack.home, "kafka")
    files |= tracked.tell(600, 700)
    tracked.store(700)
    tracked.wait_for(files, 90)


def test_the_figures_of_a_cycle_are_exact_though_trackers_are_killed_and_files_come_twice_and_late(
    tracked: Tracked,
) -> None:
    end_s = int(time()) - 3600 - int(tracked.run, 16) % 80_000

    def published() -> CycleFigures | None:
        return next((c for c in read_cycles(tracked.brokers) if (c.system, c.end_s) == ("4ga", end_s)), None)

    tracked.tell(0, 24, end_s)
    tracked.tell(24, 26, end_s, "error")
    tracked.store(20)
    first = tracked.start()
    tracked.wait_until(lambda: (found := published()) is not None and found.found == 26, 60, lambda: f"{published()}")
    tracked.end(first)
    tracked.tell(0, 24, end_s, "done")  # each a second time
    tracked.tell(0, 24, end_s, "done")
    tracked.tell(26, 27, end_s, "lost")  # long after the cycle was closed
    tracked.store(24)
    tracked.start()
    tracked.wait_until(lambda: (found := published()) is not None and found.found == 27, 60, lambda: f"{published()}")
    tracked.wait_until(lambda: (found := published()) is not None and found.done == 24, 60, lambda: f"{published()}")
    figures = published()
    assert figures is not None
    assert (figures.expected, figures.missing, figures.elements) == (3, ["absent"], 24)
    assert (figures.found, figures.done, figures.error, figures.lost) == (27, 24, 2, 1)
    assert figures.stored == {"mysql": 24}
    assert figures.values_stored == {"mysql": 24}


def test_a_sweep_removes_files_that_ended_long_ago_and_none_that_came_back(tracked: Tracked) -> None:
    done, lost = tracked.tell(0, 48, stage="done"), tracked.tell(48, 60, stage="lost")
    parsed = tracked.tell(60, 72)
    back = tracked.tell(0, 3, stage="found")

    def newest() -> dict[str, bytes | None]:
        part = OffsetRange(FILES_STATUS, *(ask(tracked.brokers, FILES_STATUS) for ask in (admin.begins, admin.ends)))
        records = [r for found in read_range(tracked.brokers, "test", part, 1000) for r in found]
        return {r.key_text: r.value for r in records if r.key_text.startswith(tracked.run)}

    def sweep(on_done: str, in_days: int) -> set[str]:
        day_s = 86_400.0
        swept = LedgerSweep(tracked.brokers, tracked.producer, lambda _: on_done, 7 * day_s, day_s, pause_s=0.0)
        swept.sweep(time() + in_days * day_s, Event())
        return {key for key, value in newest().items() if value is None}

    assert sweep("move", 6) == set()
    assert sweep("leave", 8) == lost
    assert sweep("move", 8) == lost | done - back
    again = tracked.tell(3, 4, stage="done")
    assert sweep("move", 6) == lost | done - back - again
    assert {key for key, value in newest().items() if value is not None} == parsed | back | again
