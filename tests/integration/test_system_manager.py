"""A scanner on the real servers, while its configuration changes and while it is killed."""

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
import yaml

from services.scanner.leader import reported_states
from services.scanner.settings import ScannerSettings, Zookeeper
from services.scanner.state import ScanSummary, SystemState
from services.scanner.system_manager import SystemManager
from shared import topics
from shared.kafka import admin
from shared.settings import Settings, load
from tools.cli.operate import ledger
from tools.devstack import processes
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
OWN = {"config-look": 0.1, "settle": 0.05}
EVERY_SECOND = {"cron": {"schedule-scan": "* * * * * *"}, "immediate-run-delay": 0}


@dataclass
class Site:
    """Two systems of local folders, and the file that configures them."""

    home: Path
    stack: Stack
    one: str = field(default_factory=lambda: f"s{uuid.uuid4().hex[:8]}")
    two: str = field(default_factory=lambda: f"s{uuid.uuid4().hex[:8]}")

    @property
    def config(self) -> Path:
        return self.home / "pmflow.yaml"

    def configure(self, **systems: dict[str, Any]) -> None:
        for name in systems:
            entry = {"name": "e{n}", "protocol": "local", "directory": f"{self.home}/{name}/e{{n}}", "range": "1-2"}
            (self.home / f"{name}.yaml").write_text(yaml.safe_dump([entry]))
        known = {name: {"inventory": str(self.home / f"{name}.yaml"), **system} for name, system in systems.items()}
        kafka_section = {"bootstrap-servers": self.stack.kafka.bootstrap_servers}
        zookeeper = {"connectionString": self.stack.zookeeper}
        whole = {
            "spring": {"pm": EVERY_SECOND},
            "kafka": kafka_section,
            "zookeeper": zookeeper,
            "scanner": OWN,
            **known,
        }
        partial = self.config.with_suffix(".partial")
        partial.write_text(yaml.safe_dump(whole))
        partial.replace(self.config)

    def settings(self) -> Settings:
        return load((self.config,))

    def write(self, system: str, element: str, name: str) -> None:
        path = self.home / system / element / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")

    def announced(self, system: str) -> set[str]:
        files = ledger.read_ledger(self.stack.kafka).files.values()
        return {file.path.rpartition("/")[2] for file in files if file.system == system}

    def states(self) -> dict[str, SystemState]:
        """Returns the states of this site's systems; if two scanners report one, that of the leader."""
        ours = {self.one, self.two, "configuration"}
        servers = Zookeeper(connection_string=self.stack.zookeeper)
        found = [state for state in reported_states(servers) if state.system in ours]
        return {state.system: state for state in sorted(found, key=lambda state: state.state == "leading")}

    def scan(self, system: str) -> ScanSummary | None:
        """Returns the result of the last scan of a system, None if there was none."""
        state = self.states().get(system)
        return state.scan if state else None

    def epoch(self, system: str) -> int:
        """Returns the epoch in which a system is led, 0 if it is not."""
        state = self.states().get(system)
        return state.epoch if state else 0

    def leads(self, system: str) -> bool:
        return self.epoch(system) > 0


@pytest.fixture
def site(stack: Stack, tmp_path: Path) -> Site:
    admin.provision(stack.kafka, topics.provisioned([]))
    return Site(tmp_path, stack)


@pytest.fixture
def scanner(site: Site) -> Iterator[Callable[[], None]]:
    """Starts a scanner in this process."""
    stop, threads = Event(), []

    def start() -> None:
        own = site.settings().section("scanner", ScannerSettings)
        threads.append(Thread(target=SystemManager(site.settings(), own, site.settings).run, args=(stop,)))
        threads[0].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def eventually(true: Callable[[], bool], what: str) -> None:
    until_s = monotonic() + WAIT_S
    while not true():
        assert monotonic() < until_s, what


def test_a_change_of_one_system_leaves_the_other_alone_and_a_bad_one_changes_nothing(
    site: Site, scanner: Callable[[], None]
) -> None:
    site.configure(**{site.one: {}})
    scanner()
    eventually(lambda: site.leads(site.one), "the first system is led")
    epoch = site.epoch(site.one)

    site.configure(**{site.one: {}, site.two: {}})
    eventually(lambda: site.leads(site.two), "the second system is started")
    second = site.epoch(site.two)

    site.configure(**{site.one: {}, site.two: {"pattern": "regex:("}})
    eventually(lambda: "configuration" in site.states(), "the bad change is refused")
    assert "pattern" in site.states()["configuration"].reason
    assert (site.epoch(site.one), site.epoch(site.two)) == (epoch, second)

    site.configure(**{site.one: {}, site.two: {"pattern": "*.xml"}})
    eventually(lambda: site.epoch(site.two) > second, "the second system is led anew")
    eventually(lambda: "configuration" not in site.states(), "nothing is refused any more")

    site.configure(**{site.one: {}})
    eventually(lambda: site.two not in site.states(), "the second system is stopped")
    assert site.epoch(site.one) == epoch


def test_a_rollout_is_widened_while_running(site: Site, scanner: Callable[[], None]) -> None:
    for element in ("e1", "e2"):
        site.write(site.one, element, f"{element}.xml")
    site.configure(**{site.one: {"rollout": ["e1"]}})
    scanner()
    eventually(lambda: site.announced(site.one) == {"e1.xml"}, "the first element is collected")
    eventually(lambda: (scan := site.scan(site.one)) is not None and scan.elements == 1, "one element is looked at")
    assert site.announced(site.one) == {"e1.xml"}
    site.configure(**{site.one: {"rollout": "100%"}})
    eventually(lambda: site.announced(site.one) == {"e1.xml", "e2.xml"}, "the second too")


def test_a_full_queue_holds_files_back_on_the_element_and_says_so(site: Site, scanner: Callable[[], None]) -> None:
    """There is no fetcher here, so announced files stay in flight."""
    for number in range(5):
        site.write(site.one, "e1", f"{number}.xml")
    site.configure(**{site.one: {"in-flight-limit": 2}})
    scanner()
    eventually(
        lambda: (scan := site.scan(site.one)) is not None and scan.held_back == 5 - 2, "three files are held back"
    )
    scan = site.scan(site.one)
    assert scan is not None
    assert scan.waiting_for_fetchers in {0, 2}
    assert len(site.announced(site.one)) == 2
    assert len(list((site.home / site.one / "e1").iterdir())) == 5


def test_a_killed_leader_is_followed_within_a_session_and_no_file_is_missed(site: Site) -> None:
    site.configure(**{site.one: {}})
    site.write(site.one, "e1", "before.xml")
    env = {**os.environ, "PMFLOW_CONFIG": str(site.config)}
    scanners = []
    try:
        for name in ("first", "second"):
            argv = [sys.executable, "-m", "services.scanner"]
            scanners.append(processes.start(site.home, name, argv, env=env, cwd=ROOT))
            eventually(lambda: site.leads(site.one), "one leads")
        eventually(lambda: site.announced(site.one) == {"before.xml"}, "it announces")
        epoch = site.epoch(site.one)
        scanners[0].kill()
        site.write(site.one, "e1", "after.xml")
        eventually(lambda: site.announced(site.one) == {"before.xml", "after.xml"}, "the other goes on")
        assert site.epoch(site.one) > epoch
        files = [f for f in ledger.read_ledger(site.stack.kafka).files.values() if f.system == site.one]
        assert {file.path.rpartition("/")[2]: file.attempt for file in files} == {"before.xml": 1, "after.xml": 1}
    finally:
        for process in scanners:
            process.stop()


def test_a_scanner_that_is_stopped_hands_over_at_once(site: Site) -> None:
    site.configure(**{site.one: {}, site.two: {}})
    env = {**os.environ, "PMFLOW_CONFIG": str(site.config)}
    scanner = processes.start(site.home, "only", [sys.executable, "-m", "services.scanner"], env=env, cwd=ROOT)
    try:
        eventually(lambda: site.leads(site.one) and site.leads(site.two), "both systems are led")
    finally:
        scanner.stop()
    assert not {site.one, site.two} & site.states().keys()
    events = [json.loads(line)["event"] for line in scanner.log_path.read_text().splitlines() if line.startswith("{")]
    assert events.count("system stopped") == events.count("leadership ended") == 2
    assert "Traceback" not in scanner.log_path.read_text()
