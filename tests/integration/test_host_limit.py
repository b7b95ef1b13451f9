"""Several fetchers and a scanner share the connections that a host allows, and who fetched a file also moves it."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

import asyncssh
import orjson
import pytest
import yaml

from shared.kafka import admin
from shared.kafka.consume import follow_all
from shared.kafka.produce import Producer, command_of
from shared.messages import FileStatus, Settle
from shared.topics import FILES_FOUND, FILES_SETTLE, FILES_STATUS, provisioned
from tests.fakes.fetching import PM
from tools.cli.operate import ledger
from tools.devstack.stack import Stack
from tools.simulator.addresses import EVERY_ADDRESS, ServerAddress
from tools.simulator.elements import Login
from tools.simulator.serve import known_hosts_lines, serve

ROOT = Path(__file__).parents[2]
WAIT_S = 150.0
OSS = "127.0.0.1"
MOST = 4
"""Connections that each host allows: one for the scanner, three for the fetcher that has it."""
ALL_PARTITIONS = [*range(12)]


class Elements:
    """Elements by SFTP, in a thread: many behind one host, and some with hosts of their own. Counts connections."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.hosts = {f"o{n}": OSS for n in range(40)} | {f"a{n}": f"127.1.0.{n}" for n in range(1, 25)}
        self.lock = Lock()
        self.open: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.closings: set[asyncio.Task[None]] = set()
        self.loop = asyncio.new_event_loop()
        for name in self.hosts:
            (self.folder(name) / "pm").mkdir(parents=True)
        logins = {name: Login(home / name, "secret") for name in {*map(self.login, self.hosts)}}
        self.server = self.loop.run_until_complete(
            serve(home, logins, ServerAddress(EVERY_ADDRESS, "", 0), self.connected)
        )
        self.port = self.server.get_port()
        self.thread = Thread(target=self.loop.run_forever)
        self.thread.start()
        (home / "known_hosts").write_text(known_hosts_lines(home, {*self.hosts.values()}, self.port))

    def login(self, name: str) -> str:
        """Returns the user name for an element, which is also its root directory; the OSS has one for all."""
        return "oss" if self.hosts[name] == OSS else name

    def folder(self, name: str) -> Path:
        return self.home / self.login(name) / name

    def connected(self, connection: asyncssh.SSHServerConnection) -> None:
        host = connection.get_extra_info("sockname")[0]
        with self.lock:
            self.open[host] += 1
            self.peaks[host] = max(self.peaks[host], self.open[host])
        task = self.loop.create_task(self.closed(connection, host))
        self.closings.add(task)
        task.add_done_callback(self.closings.discard)

    async def closed(self, connection: asyncssh.SSHServerConnection, host: str) -> None:
        await connection.wait_closed()
        with self.lock:
            self.open[host] -= 1

    def most_open(self) -> int:
        with self.lock:
            return max(self.open.values())

    def inventory(self) -> list[dict[str, Any]]:
        return [
            {"name": n, "host": h, "port": self.port, "username": self.login(n), "password": "secret",
             "directory": f"/{n}/pm"}
            for n, h in self.hosts.items()
        ]  # fmt: skip

    def write(self, cycle: str, many: int) -> int:
        """Writes files on every element; returns their number."""
        for name in self.hosts:
            for n in range(many):
                partial = self.folder(name) / f"{cycle}-{n}.xml"
                partial.write_bytes(PM)
                partial.rename(self.folder(name) / "pm" / partial.name)
        return many * len(self.hosts)

    def finished(self) -> int:
        return len(list(self.home.glob("*/*/pm/done/*.xml")))

    async def end(self) -> None:
        self.server.close()
        await self.server.wait_closed()
        await asyncio.gather(*self.closings)

    def close(self) -> None:
        """Ends the server, after its clients have."""
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@dataclass
class Process:
    """A service in a process of its own, and its log."""

    name: str
    running: subprocess.Popen[bytes]
    log: Path

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_bytes().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        return [found for line in lines if (found := orjson.loads(line)).get("event") == event]

    def files(self, event: str) -> set[str]:
        return {found["file"] for found in self.events(event)}

    def partitions(self) -> dict[str, list[int]]:
        changes = self.events("partitions changed")
        return dict(changes[-1]["partitions"]) if changes else {}


@dataclass
class Site:
    """A system whose elements are served here, the services that collect from them, and the test as its tracker."""

    stack: Stack
    elements: Elements
    home: Path
    system: str = field(default_factory=lambda: f"h{uuid.uuid4().hex[:8]}")
    processes: list[Process] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)
    stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        admin.provision(self.stack.kafka, provisioned([self.system]))
        inventory = self.home / "inventory.yaml"
        inventory.write_text(yaml.safe_dump(self.elements.inventory()))
        sections = {
            "kafka": {"bootstrap-servers": self.stack.kafka.bootstrap_servers},
            "zookeeper": {"connectionString": self.stack.zookeeper},
            "spring": {"pm": {"cron": {"schedule-scan": "*/2 * * * * *"}, "immediate-run-delay": 0}},
            "elements": {"known-hosts": str(self.elements.home / "known_hosts"), "connections-per-host": MOST},
            "scanner": {"settle": 0.2},
            "fetcher": {"parsers": 1},
            self.system: {"consumerThreads": 20, "inventory": str(inventory)},
        }
        (self.home / "pmflow.yaml").write_text(yaml.safe_dump(sections))
        self.tracker = Thread(target=self.command)
        self.tracker.start()

    def start(self, service: str) -> Process:
        name = f"{service}{len(self.processes)}"
        env = {**os.environ, "PMFLOW_CONFIG": str(self.home / "pmflow.yaml"), "PYTHONPATH": str(ROOT)}
        log = self.home / f"{name}.log"
        with log.open("ab") as out:
            args = [sys.executable, "-m", f"services.{service}"]
            made = Process(name, subprocess.Popen(args, env=env, cwd=ROOT, stdout=out, stderr=out), log)
        self.processes.append(made)
        return made

    def command(self) -> None:
        """Commands the move of every file that is parsed, as the tracker does once it is stored."""
        reader, producer = follow_all(self.stack.kafka, FILES_STATUS), Producer(self.stack.kafka)
        while not self.stop.is_set():
            for _, status in ledger.ledger_records(reader.poll(500, 0.2)):
                if isinstance(status, FileStatus) and status.system == self.system:
                    self.stages[status.file_id] = status.stage
                    if status.stage == "parsed":
                        producer.deliver(command_of(Settle(file_id=status.file_id, to="done", status=status)))
        reader.close()
        producer.close()

    def until(self, true: Callable[[], object], *processes: Process) -> None:
        until_s = monotonic() + WAIT_S
        while not true():
            for process in processes or self.processes:
                assert process.running.poll() is None, process.log.read_text()[-3000:]
            assert monotonic() < until_s, (Counter(self.stages.values()), self.elements.open)
            self.stop.wait(0.05)  # the test's own pace of looking

    def until_shared_by(self, *fetchers: Process) -> None:
        """Waits until these fetchers have all partitions, and each the same of both topics."""

        def are_shared() -> bool:
            found = [fetcher.partitions() for fetcher in fetchers]
            if not all(found) or any(one[FILES_FOUND.name] != one[FILES_SETTLE.name] for one in found):
                return False
            return sorted(number for one in found for number in one[FILES_FOUND.name]) == ALL_PARTITIONS

        self.until(are_shared, *fetchers)

    def done(self) -> int:
        return Counter(self.stages.values())["done"]

    def close(self) -> None:
        for process in self.processes:
            process.running.terminate()
        for process in self.processes:
            process.running.wait(60)
        self.stop.set()
        self.tracker.join()
        self.elements.close()


@pytest.fixture
def site(stack: Stack, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "elements").mkdir()
    made = Site(stack, Elements(tmp_path / "elements"), tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(400)
def test_no_host_has_more_connections_than_it_allows_and_who_fetched_a_file_moves_it(site: Site) -> None:
    fetchers = [site.start("fetcher") for _ in range(3)]
    site.until_shared_by(*fetchers)
    scanner = site.start("scanner")
    files = site.elements.write("first", 6)
    site.until(lambda: site.done() == files)
    files += site.elements.write("second", 6)
    site.until(lambda: site.done() == files)
    assert site.elements.finished() == files
    assert max(site.elements.peaks.values()) <= MOST, site.elements.peaks
    assert site.elements.peaks[OSS] == MOST  # all that is allowed is used, too
    site.until(lambda: sum(len(fetcher.files("file processed")) for fetcher in fetchers) == files)
    for fetcher in fetchers:
        fetched = fetcher.files("file processed")
        assert fetched, f"{fetcher.name} had no work"
        assert fetcher.files("file settled") == fetched
    assert not scanner.events("element not scanned")


@pytest.mark.timeout(400)
def test_rebalances_lose_no_file_and_no_command_and_hosts_are_left_to_their_new_fetcher(site: Site) -> None:
    first, second = (site.start("fetcher") for _ in range(2))
    site.until_shared_by(first, second)
    site.start("scanner")
    files = site.elements.write("first", 8)
    site.until(lambda: site.done() > files // 8)
    third = site.start("fetcher")
    site.until(lambda: third.partitions().get(FILES_FOUND.name))
    files += site.elements.write("second", 8)
    site.until(lambda: site.done() > files // 2)
    first.running.send_signal(signal.SIGKILL)
    site.processes.remove(first)
    site.until_shared_by(second, third)
    site.until(lambda: site.done() == files)
    assert site.elements.finished() == files
    assert set(site.stages.values()) == {"done"}
    site.until(lambda: site.elements.most_open() <= MOST)
    first.running.wait(60)
