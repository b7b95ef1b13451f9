"""The stack: Kafka, ZooKeeper, MySQL and the ClickHouse engine under one folder, started and stopped together."""

import json
import os
import shutil
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import yaml

from tools.devstack import downloads, processes, servers
from tools.devstack.servers import NotReady

COMPONENTS = ("zookeeper", "mysql", "clickhouse", "kafka")
"""In the order of their start: Kafka formats its storage first, and the others start meanwhile."""
USUAL_PORTS = {"kafka": 19092, "kafka_controller": 19093, "zookeeper": 12181, "mysql": 13306, "clickhouse": 18123}
"""Ports of the developer's own stack; those in use by other programs are replaced by free ones."""
DEMO = "demo"
"""The name under which a running demo is registered."""
READY_WITHIN_S = 90.0
LOOK_S = 0.1
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Where the servers answer; all on loopback."""

    home: Path
    ports: Mapping[str, int]

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.ports['kafka']}"

    @property
    def zookeeper(self) -> str:
        return f"127.0.0.1:{self.ports['zookeeper']}"

    @property
    def mysql_host(self) -> str:
        return "127.0.0.1"

    @property
    def mysql_port(self) -> int:
        return self.ports["mysql"]

    @property
    def clickhouse_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['clickhouse']}"

    @property
    def simulator(self) -> Path:
        """Where `pmflow simulate` keeps its elements."""
        return self.home / "simulator"

    @property
    def overlay_file(self) -> Path:
        """For PMFLOW_CONFIG, after the user's YAML."""
        return self.home / "overlay.yaml"

    def overlay(self) -> dict[str, dict[str, Any]]:
        """The sections of a configuration that name the servers and the simulator's elements."""
        return {
            "kafka": {"bootstrap-servers": self.kafka},
            "zookeeper": {"connectionString": self.zookeeper},
            "mysql": {"host": self.mysql_host, "port": self.mysql_port, "user": "root", "database": "pmflow"},
            "clickhouse": {"url": f"{self.clickhouse_url}/pmflow"},
            # one host pretends to be all elements
            "elements": {"known-hosts": str(self.simulator / "known_hosts"), "connections-per-host": 40},
            "4ga": {"inventory": str(self.simulator / "inventory" / "4ga.yaml")},
            "5ga": {"inventory": str(self.simulator / "inventory" / "5ga.yaml")},
        }

    def write_overlay(self, overrides: Mapping[str, Any]) -> None:
        """Writes the overlay with other sections over it."""
        _replace(self.overlay_file, yaml.safe_dump(_merged(self.overlay(), overrides)))

    @classmethod
    def load(cls, home: Path) -> "Stack":
        """The stack of a folder, running or not."""
        return cls(home=home, ports=json.loads((home / "stack.json").read_text())["ports"])

    def save(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        _replace(self.home / "stack.json", json.dumps({"ports": dict(self.ports)}))


def _merged(sections: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return {**sections, **{name: {**sections.get(name, {}), **values} for name, values in over.items()}}


def _replace(target: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_text(text)
    partial.replace(target)


def up(home: Path, *, usual_ports: bool = False) -> Stack:
    """Starts what does not run, and waits until each server answers a real request.

    A server gets the port it had before, or a free one where another program uses that port by now.

    Raises:
        Missing: something of the machine is missing.
        NotReady: a server does not answer; the end of its log says why.
    """
    stack = _with_free_ports(home.resolve(), USUAL_PORTS if usual_ports else dict.fromkeys(USUAL_PORTS, 0))
    downloads.everything()
    for component in COMPONENTS:
        if processes.find(stack.home, component) is None:
            start_component(stack.home, component)
    for component in COMPONENTS:
        wait_ready(stack, component)
    return stack


def _with_free_ports(home: Path, wanted: Mapping[str, int]) -> Stack:
    before = Stack.load(home) if (home / "stack.json").exists() else Stack(home=home, ports={})
    known = {**wanted, **before.ports}
    stopped = [component for component in COMPONENTS if processes.find(home, component) is None]
    free = _free_ports({name: port for name, port in known.items() if name.removesuffix("_controller") in stopped})
    stack = replace(before, ports={**known, **free})
    if stack != before:
        stack.save()
        if stack.overlay_file.exists():  # what else was configured there stays
            found = yaml.safe_load(stack.overlay_file.read_text()) or {}
            _replace(stack.overlay_file, yaml.safe_dump(_merged(found, stack.overlay())))
    return stack


def start_component(home: Path, component: str) -> None:
    """Starts one server; does not wait for it."""
    home = home.resolve()
    stack = Stack.load(home)
    argv = servers.prepared(component, stack.ports, home / "data" / component)
    processes.start(home, component, argv, cwd=ROOT)


def stop_component(home: Path, component: str) -> None:
    """Stops one server in good order, if it runs."""
    found = processes.find(home.resolve(), component)
    if found is not None:
        found.stop(timeout_s=40)


def running(home: Path) -> list[processes.Process]:
    """Returns all processes of the folder, a simulator that was started by hand on its elements among them."""
    found = [*processes.running(home), *processes.running(home / "simulator")]
    return list({process.pid: process for process in reversed(found)}.values())[::-1]


def down(home: Path, timeout_s: float = 40.0) -> list[str]:
    """Stops all that runs under the folder and returns the names; the data stays.

    A demo comes first, since it would start more; then simulator and services; the servers last. What has not ended
    after `timeout_s` is killed.
    """
    home = home.resolve()
    stopped: list[str] = []
    for last in (0, 1, 2):
        found = [process for process in running(home) if process.pid != os.getpid()]
        layer = [process for process in found if _layer(process.name) <= last]
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda process: process.stop(timeout_s), layer))
        stopped += [process.name for process in layer]
    return stopped


def _layer(name: str) -> int:
    return 0 if name == DEMO else 2 if name in COMPONENTS else 1


def empty(home: Path) -> None:
    """Stops all and removes all data, logs and simulated elements; the ports and what was downloaded stay.

    Raises:
        NotReady: the folder has data, but is not one of a dev stack.
    """
    home = home.resolve()
    if (home / "data").exists() and not (home / "stack.json").exists():
        raise NotReady(f"{home}/data is not a dev stack's (there is no stack.json): remove it or choose another --home")
    down(home, timeout_s=0)  # nobody needs what they would still write
    _discard(home, "data", "log", "simulator", "overlay.yaml")


def reset(home: Path) -> None:
    """Stops all and removes all data and ports; what was downloaded stays."""
    empty(home)
    _discard(home.resolve(), "run", "stack.json")


def _discard(home: Path, *names: str) -> None:
    """Renames before it removes: after an interruption nothing half removed is taken for data."""
    discarded = home / "discarded"
    if discarded.exists():
        shutil.rmtree(discarded)
    discarded.mkdir(parents=True)
    for name in names:
        if (home / name).exists():
            (home / name).rename(discarded / name)
    shutil.rmtree(discarded)


def status(home: Path) -> dict[str, str]:
    """Component -> ready | does not answer | stopped."""
    home = home.resolve()
    found = {}
    for component in COMPONENTS:
        if processes.find(home, component) is None:
            found[component] = "stopped"
        else:
            found[component] = "ready" if servers.answers(component, Stack.load(home).ports) else "does not answer"
    return found


def wait_ready(stack: Stack, component: str) -> None:
    """Waits until a server answers.

    Raises:
        NotReady: it ended, or does not answer in time.
    """
    until_s = monotonic() + READY_WITHIN_S
    while True:
        process = processes.find(stack.home, component)
        if process is not None and servers.answers(component, stack.ports):
            return
        if process is None or monotonic() > until_s:
            file = stack.home / "log" / f"{component}.log"
            tail = file.read_text(errors="replace")[-3000:] if file.exists() else ""
            state = "ended" if process is None else f"does not answer within {READY_WITHIN_S:.0f} s"
            raise NotReady(f"{component} {state}; the end of its log, {file}:\n{tail}")
        sleep(LOOK_S)


def _free_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """The wanted ports where they are free, else any free ones; 0 wants any. Held open together: none comes twice."""
    found = {}
    with ExitStack() as held:
        for name, port in wanted.items():
            probe = held.enter_context(socket.socket())
            try:
                # connections of a server that has ended do not count, as they do not for the server itself
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port > 0))
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                probe.bind(("127.0.0.1", 0))
            found[name] = probe.getsockname()[1]
    return found
