"""The deployment under test: two instances of every service, the servers, the elements, and proxies between them."""

import os
import shutil
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any

from shared import topics
from shared.kafka import admin
from shared.settings import SERVICES, Settings
from tests.chaos.load import Load
from tests.chaos.plan import ELEMENTS
from tests.chaos.proxy import Proxy
from tools.cli.dev.demo import DEMO_SCHEDULE
from tools.cli.dev.pipeline import Pipeline
from tools.cli.dev.run import service_command
from tools.devstack import downloads, processes, servers
from tools.devstack import stack as devstack
from tools.devstack.stack import COMPONENTS, REPOSITORY, Stack

INSTANCES = 2
CLOCK_FOLDER = Path(__file__).parent / "clock"
SERVERS = (*COMPONENTS, ELEMENTS)
SYSTEMS = ("4ga", "5ga")
USES: Mapping[str, tuple[str, ...]] = {
    "scanner": ("kafka", "zookeeper", ELEMENTS),
    "fetcher": ("kafka", ELEMENTS),
    "tracker": ("kafka",),
    "mysql_writer": ("kafka", "mysql"),
    "ch_bridge": ("kafka", "clickhouse"),
}
"""The servers that each service connects to: each pair has a proxy of its own."""
OVERRIDES: Mapping[str, Any] = {
    **DEMO_SCHEDULE,
    "elements": {"timeout-s": 10, "wait-s": 30},
    "scanner": {"lease_s": 15, "longest_wait_s": 5, "unreachable_s": 20, "listing_s": 30},
    "fetcher": {"parsers": 1, "spool-bytes": 4096},
    "tracker": {"lateness_s": 1, "lease_s": 15},
    "4ga": {"complete-on": ["mysql", "clickhouse"]},
    "5ga": {"isUsingClickhouse": True},
}
"""Short schedules and leases, so that a run of minutes goes through them; everything else is the default."""
SERVE_WITHIN_S = 60.0
POLL_S = 0.1


def line_name(service: str, server: str) -> str:
    return f"{service}>{server}"


@dataclass
class World:
    """Everything that runs, under one folder."""

    home: Path
    stack: Stack
    load: Load
    proxy: Proxy = field(default_factory=Proxy)
    views: dict[str, Pipeline] = field(default_factory=dict)
    """Service -> its configuration, in which every server is behind a proxy."""
    locks: defaultdict[str, Lock] = field(default_factory=partial(defaultdict, Lock))
    """A lock for each process and line: whoever holds it may stop and start it."""
    vanished: set[Path] = field(default_factory=set)
    """Files that a fault took from their elements for a while."""

    @property
    def services(self) -> dict[str, list[str]]:
        """Returns the names of the instances by service."""
        return {service: [f"{service}-{n}" for n in range(1, INSTANCES + 1)] for service in SERVICES}

    @property
    def instances(self) -> list[str]:
        return [name for names in self.services.values() for name in names]

    @property
    def elements(self) -> Path:
        """The folder of the elements' SFTP server."""
        return self.home / ELEMENTS

    def start(self, name: str) -> processes.Process:
        """Starts a service's instance, a server, or the elements' server; returns without waiting for it."""
        if name in COMPONENTS:
            return self._start_server(name)
        if name == ELEMENTS:
            return self._start_elements()
        service = name.rpartition("-")[0]
        env = {
            **self.views[service].env,
            "PMFLOW_HEALTH__FILE": str(self.health_file(name)),
            "PYTHONPATH": str(CLOCK_FOLDER),
            "CHAOS_CLOCK": str(self.clock_file(name)),
        }
        self.set_clock(name, 0.0)
        return processes.start(self.home, name, service_command(service), env=env, cwd=REPOSITORY)

    def health_file(self, instance: str) -> Path:
        return self.home / "run" / f"{instance}.health"

    def clock_file(self, instance: str) -> Path:
        return self.home / "run" / f"{instance}.clock"

    def set_clock(self, instance: str, shift_s: float) -> None:
        """Shifts the clock of an instance from the true time, at once if it runs."""
        descriptor = os.open(self.clock_file(instance), os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, struct.pack("<d", shift_s))
        finally:
            os.close(descriptor)

    def _start_server(self, name: str) -> processes.Process:
        argv = servers.prepared(name, self.stack.ports, self.home / "data" / name)
        if name == "kafka":
            with (self.home / "data" / "kafka.properties").open("a") as config:  # the last value of a key counts
                config.writelines(f"{key}={value}\n" for key, value in self._listeners().items())
        return processes.start(self.home, name, argv, cwd=REPOSITORY)

    def _listeners(self) -> dict[str, str]:
        """Returns Kafka's settings: for each service a listener that advertises the port of its proxy."""
        ports = self.stack.ports
        named = {service.upper(): service for service in SERVICES}
        own = {name: f"127.0.0.1:{ports[f'kafka_{service}']}" for name, service in named.items()}
        advertised = {name: f"127.0.0.1:{ports[line_name(service, 'kafka')]}" for name, service in named.items()}
        plain = {"PLAINTEXT": f"127.0.0.1:{ports['kafka']}"}
        controller = {"CONTROLLER": f"127.0.0.1:{ports['kafka_controller']}"}
        return {
            "listeners": _joined("://", plain | controller | own),
            "advertised.listeners": _joined("://", plain | advertised),
            "listener.security.protocol.map": _joined(":", dict.fromkeys((*plain, *controller, *own), "PLAINTEXT")),
            "inter.broker.listener.name": "PLAINTEXT",
        }

    def _start_elements(self) -> processes.Process:
        argv = [
            sys.executable, "-m", "tools.simulator", "--dir", str(self.elements), "--serve-only",
            "--systems", ",".join(f"{name}:1" for name in SYSTEMS), "--port", str(self.stack.ports[ELEMENTS]),
        ]  # fmt: skip
        return processes.start(self.home, ELEMENTS, argv, cwd=REPOSITORY)

    def publish_elements(self) -> None:
        """Writes for each service the inventory and the host keys, with the ports of its proxies."""
        port = self.stack.ports[ELEMENTS]
        for service, view in self.views.items():
            if ELEMENTS not in USES[service]:
                continue
            behind = self.stack.ports[line_name(service, ELEMENTS)]
            for system in SYSTEMS:
                text = (self.elements / "inventory" / f"{system}.yaml").read_text()
                target = view.simulator / "inventory" / f"{system}.yaml"
                _replace(target, text.replace(f"port: {port}\n", f"port: {behind}\n"))
            keys = (self.elements / "known_hosts").read_text()
            _replace(view.simulator / "known_hosts", keys.replace(f"]:{port} ", f"]:{behind} "))

    def elements_serve(self, within_s: float) -> bool:
        """Waits until the elements' server answers and has published inventory and host keys."""
        last, until_s = self.elements / "inventory" / f"{SYSTEMS[-1]}.yaml", monotonic() + within_s
        while not last.exists() or not self.answers(ELEMENTS):
            if monotonic() > until_s:
                return False
            Event().wait(POLL_S)
        return True

    def wipe_zookeeper(self) -> None:
        """Removes all data of ZooKeeper, which does not run."""
        shutil.rmtree(self.home / "data" / "zookeeper")

    def answers(self, name: str) -> bool:
        """Returns True if a server answers a request, directly and not through a proxy."""
        if name == ELEMENTS:
            return _accepts(self.stack.ports[ELEMENTS])
        return servers.answers(name, self.stack.ports)

    def close(self) -> None:
        """Stops everything; the data and the logs stay."""
        devstack.down(self.home)
        self.proxy.close()


@contextmanager
def running_world(home: Path, load: Load) -> Iterator[tuple[World, Settings]]:
    """Starts servers, elements and services behind their proxies; yields them with settings that pass no proxy."""
    downloads.download_all()
    world = World(home, Stack(home=home, ports={}), load)
    try:
        _open_lines(world)
        for name in COMPONENTS:
            world.start(name)
        _serve_elements(world)
        for name in COMPONENTS:
            devstack.wait_ready(world.stack, name)
        settings = Pipeline(home, world.stack, OVERRIDES).configure()
        admin.provision(settings.kafka, topics.provisioned(SYSTEMS))
        _configure_services(world)
        for name in world.instances:
            world.start(name)
        yield world, settings
    finally:
        world.close()


def _open_lines(world: World) -> None:
    """Chooses all ports, and opens the proxies' listeners on theirs at once."""
    lines = {line_name(service, server): server for service, used in USES.items() for server in used}
    listeners = {name: _listener() for name in lines}
    names = (*COMPONENTS, ELEMENTS, "kafka_controller", *(f"kafka_{service}" for service in SERVICES))
    ports = devstack.free_ports(dict.fromkeys(names, 0))
    ports |= {name: listener.getsockname()[1] for name, listener in listeners.items()}
    world.stack = replace(world.stack, ports=ports)
    world.stack.save()
    for name, server in lines.items():
        service = name.partition(">")[0]
        port = ports[f"kafka_{service}" if server == "kafka" else server]
        world.proxy.add(name, listeners[name], ("127.0.0.1", port))


def _listener() -> socket.socket:
    """Returns a bound socket on all addresses of the loopback, because each element has its own."""
    found = socket.socket()
    found.bind(("0.0.0.0", 0))
    return found


def _serve_elements(world: World) -> None:
    world.elements.mkdir(parents=True)
    (world.elements / "files").symlink_to(world.load.elements.directory / "files")
    process = world.start(ELEMENTS)
    if not world.elements_serve(SERVE_WITHIN_S):
        raise servers.NotReady(f"the elements' server did not start, see its log {process.log_path}")


def _configure_services(world: World) -> None:
    for service in SERVICES:
        ports = {**world.stack.ports}
        for server in USES[service]:
            ports[server] = ports[line_name(service, server)]
        home = world.home / "views" / service
        (home / "simulator" / "inventory").mkdir(parents=True)
        world.views[service] = Pipeline(home, Stack(home=home, ports=ports), OVERRIDES)
        if ELEMENTS not in USES[service]:  # the inventory tells only which elements there are
            shutil.copytree(world.elements / "inventory", home / "simulator" / "inventory", dirs_exist_ok=True)
    world.publish_elements()
    for view in world.views.values():
        view.configure()


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def _joined(between: str, pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name}{between}{value}" for name, value in pairs.items())


def _replace(target: Path, text: str) -> None:
    """Writes a file completely or not at all, as services read it at any time."""
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_text(text)
    partial.replace(target)
