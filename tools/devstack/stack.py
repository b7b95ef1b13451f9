"""Starts and stops Kafka, ZooKeeper, MySQL and the ClickHouse engine together, with their data in one folder."""

import json
import os
import shutil
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import yaml

from shared.configuration.kafka import Kafka, SaslMechanism
from tools.devstack import downloads, processes, servers
from tools.devstack.security import SECURED_PORTS
from tools.devstack.servers import NotReady

COMPONENTS = ("zookeeper", "mysql", "clickhouse", "kafka")
"""The servers in the order of their start; the others start while Kafka formats its storage."""
USUAL_PORTS = {"kafka": 19092, "kafka_controller": 19093, "zookeeper": 12181, "mysql": 13306, "clickhouse": 18123}
"""Ports of the developer's own stack; ports that other programs use are replaced by free ones."""
DEMO_PROCESS = "demo"
"""The name under which a running demo is registered."""
READY_WITHIN_S = 90.0
READY_POLL_S = 0.1
REPOSITORY = Path(__file__).parents[2]
DEFAULT_HOME = Path(".pmflow")
"""The folder of the stack's data, logs and pid files unless another one is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The folder and the ports of a stack; all servers listen on loopback."""

    home: Path
    ports: Mapping[str, int]

    @property
    def kafka(self) -> Kafka:
        return Kafka(bootstrap_servers=f"127.0.0.1:{self.ports['kafka']}")

    def kafka_as(self, name: str, *, by_certificate: bool = False) -> Kafka:
        """Returns the login of an identity of a secured stack, with its password or its certificate."""
        folder = self.home / "identities"
        ca_file = str(folder / "ca.crt")
        if by_certificate:
            return Kafka(
                bootstrap_servers=f"127.0.0.1:{self.ports['kafka_mtls']}",
                security_protocol="ssl",
                ca_file=ca_file,
                cert_file=str(folder / f"{name}.pem"),
            )
        return Kafka(
            bootstrap_servers=f"127.0.0.1:{self.ports['kafka_scram']}",
            security_protocol="sasl_ssl",
            sasl_mechanism="SCRAM-SHA-512",
            username=name,
            password_file=str(folder / f"{name}.password"),
            ca_file=ca_file,
        )

    def kafka_without_tls_as(self, name: str, mechanism: SaslMechanism) -> Kafka:
        """Returns the login of an identity of a secured stack with its password, but without TLS."""
        return Kafka(
            bootstrap_servers=f"127.0.0.1:{self.ports['kafka_sasl']}",
            security_protocol="sasl_plaintext",
            sasl_mechanism=mechanism,
            username=name,
            password_file=str(self.home / "identities" / f"{name}.password"),
        )

    def kafka_by_token_as(self, name: str, token_endpoint: str) -> Kafka:
        """Returns the login of an identity of a secured stack with a token of an endpoint (OIDC)."""
        return replace(
            self.kafka_as(name),
            bootstrap_servers=f"127.0.0.1:{self.ports['kafka_oauth']}",
            sasl_mechanism="OAUTHBEARER",
            token_endpoint=token_endpoint,
        )

    @property
    def zookeeper(self) -> str:
        return f"127.0.0.1:{self.ports['zookeeper']}"

    def zookeeper_section(self, name: str) -> dict[str, Any]:
        """Returns the section `zookeeper` by which an identity of a secured stack connects with TLS and its login."""
        folder = self.home / "identities"
        return {
            "connection-string": f"127.0.0.1:{self.ports['zookeeper_tls']}",
            "tls": True,
            "ca-file": str(folder / "ca.crt"),
            "authentication": "digest",
            "username": name,
            "password-file": str(folder / f"{name}.password"),
        }

    def mysql_section(self, name: str) -> dict[str, Any]:
        """Returns the section `mysql` by which an identity of a secured stack connects; its user must be created."""
        folder = self.home / "identities"
        return {
            "host": self.mysql_host,
            "port": self.mysql_port,
            "user": name,
            "password-file": str(folder / f"{name}.password"),
            "tls": "verify",
            "ca-file": str(folder / "ca.crt"),
        }

    def clickhouse_section(self) -> dict[str, Any]:
        """Returns the section `clickhouse` by which a secured stack is used with TLS; the engine knows no users."""
        url = f"https://127.0.0.1:{self.ports['clickhouse_tls']}/pmflow"
        return {"url": url, "ca-file": str(self.home / "identities" / "ca.crt")}

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
        """The folder in which `pmflow simulate` keeps its elements."""
        return self.home / "simulator"

    @property
    def overlay_file(self) -> Path:
        """The configuration file that follows the user's YAML in PMFLOW_CONFIG."""
        return self.home / "overlay.yaml"

    def overlay(self) -> dict[str, dict[str, Any]]:
        """Returns the sections of the configuration that name the servers and the simulated elements."""
        return {
            "kafka": {"bootstrap-servers": self.kafka.bootstrap_servers},
            "zookeeper": {"connectionString": self.zookeeper},
            "mysql": {"host": self.mysql_host, "port": self.mysql_port, "user": "root", "database": "pmflow"},
            "clickhouse": {"url": f"{self.clickhouse_url}/pmflow"},
            # one host serves all simulated elements
            "elements": {"known-hosts": str(self.simulator / "known_hosts"), "connections-per-host": 40},
            "4ga": {"inventory": str(self.simulator / "inventory" / "4ga.yaml")},
            "5ga": {"inventory": str(self.simulator / "inventory" / "5ga.yaml")},
        }

    def write_overlay(self, overrides: Mapping[str, Any]) -> None:
        """Writes the overlay, with some of its keys overridden."""
        _replace(self.overlay_file, yaml.safe_dump(_merged(self.overlay(), overrides)))

    @classmethod
    def load(cls, home: Path) -> "Stack":
        """Returns the stack of a folder, running or not."""
        return cls(home=home, ports=json.loads((home / "stack.json").read_text())["ports"])

    def save(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        _replace(self.home / "stack.json", json.dumps({"ports": dict(self.ports)}))


def login_environment(login: Kafka) -> dict[str, str]:
    """Returns the environment variables that set this section `kafka` for one process."""
    said = {field.name: getattr(login, field.name) for field in fields(login)}
    return section_environment("kafka", {name: value for name, value in said.items() if name != "properties"})


def section_environment(section: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Returns the environment variables that set the values of a section for one process."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
    return {f"PMFLOW_{section.upper()}__{name.upper().replace('-', '_')}": text for name, text in texts.items() if text}


def _merged(sections: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return {**sections, **{name: {**sections.get(name, {}), **values} for name, values in over.items()}}


def _replace(target: Path, text: str) -> None:
    """Writes a file completely or not at all."""
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_text(text)
    partial.replace(target)


def up(home: Path, *, usual_ports: bool = False, secured: bool = False) -> Stack:
    """Starts the servers that do not run, and waits until each one answers a real request.

    A server gets the port it had before, or a free one if another program uses that port by now.

    Raises:
        MissingPrerequisite: the machine lacks a program or library.
        NotReady: a server does not answer; the text contains the end of its log.
    """
    wanted = {**USUAL_PORTS, **(SECURED_PORTS if secured else {})}
    stack = _with_free_ports(home.resolve(), wanted if usual_ports else dict.fromkeys(wanted, 0))
    downloads.download_all()
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
    free = free_ports({name: port for name, port in known.items() if name.partition("_")[0] in stopped})
    stack = replace(before, ports={**known, **free})
    if stack != before:
        stack.save()
        if stack.overlay_file.exists():  # other keys in the file stay
            found = yaml.safe_load(stack.overlay_file.read_text()) or {}
            _replace(stack.overlay_file, yaml.safe_dump(_merged(found, stack.overlay())))
    return stack


def start_component(home: Path, component: str) -> None:
    """Starts one server without waiting for it."""
    home = home.resolve()
    stack = Stack.load(home)
    argv = servers.prepared(component, stack.ports, home / "data" / component)
    processes.start(home, component, argv, cwd=REPOSITORY)


def stop_component(home: Path, component: str) -> None:
    """Shuts one server down if it runs."""
    found = processes.find(home.resolve(), component)
    if found is not None:
        found.stop(timeout_s=40)


def running_processes(home: Path) -> list[processes.Process]:
    """Returns all processes of the folder, including a simulator that was started by hand on its elements."""
    found = [*processes.running(home), *processes.running(home / "simulator")]
    return list({process.pid: process for process in reversed(found)}.values())[::-1]


def down(home: Path, timeout_s: float = 40.0) -> list[str]:
    """Stops everything that runs under the folder and returns the names; the data stays.

    A demo is stopped first because it would start more processes, then simulator and services, then the servers.

    Args:
        home: the folder.
        timeout_s: time each process has to shut down before it is killed.
    """
    home = home.resolve()
    stopped: list[str] = []
    for last in (0, 1, 2):
        found = [process for process in running_processes(home) if process.pid != os.getpid()]
        layer = [process for process in found if _layer(process.name) <= last]
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda process: process.stop(timeout_s), layer))
        stopped += [process.name for process in layer]
    return stopped


def _layer(name: str) -> int:
    return 0 if name == DEMO_PROCESS else 2 if name in COMPONENTS else 1


def empty(home: Path) -> None:
    """Stops everything and removes all data, logs and simulated elements; the ports and the downloads stay.

    Raises:
        NotReady: the folder contains data that is not a dev stack's.
    """
    home = home.resolve()
    if (home / "data").exists() and not (home / "stack.json").exists():
        raise NotReady(
            f"{home}/data does not belong to a dev stack (no stack.json): remove it or choose another --home"
        )
    down(home, timeout_s=0)  # data written during a shutdown would be removed anyway
    _remove(home, "data", "log", "simulator", "overlay.yaml")


def reset(home: Path) -> None:
    """Stops everything and removes all data and ports; the downloads stay."""
    empty(home)
    _remove(home.resolve(), "run", "stack.json", "identities")


def _remove(home: Path, *names: str) -> None:
    """Removes files and folders; renames them first, so that an interruption leaves no partial data."""
    discarded = home / "discarded"
    if discarded.exists():
        shutil.rmtree(discarded)
    discarded.mkdir(parents=True)
    for name in names:
        if (home / name).exists():
            (home / name).rename(discarded / name)
    shutil.rmtree(discarded)


def component_states(home: Path) -> dict[str, str]:
    """Returns the state of each component: ready, does not answer, or stopped."""
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
        NotReady: the server has ended, or does not answer in time.
    """
    until_s = monotonic() + READY_WITHIN_S
    while True:
        process = processes.find(stack.home, component)
        if process is not None and servers.answers(component, stack.ports):
            return
        if process is None or monotonic() > until_s:
            file = stack.home / "log" / f"{component}.log"
            tail = file.read_text(errors="replace")[-3000:] if file.exists() else ""
            state = "has ended" if process is None else f"does not answer within {READY_WITHIN_S:.0f} s"
            raise NotReady(f"{component} {state}; the end of its log, {file}:\n{tail}")
        sleep(READY_POLL_S)


def free_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Returns the wanted ports, or other free ones for those in use; 0 asks for any free port.

    All ports are held open until the end, so that none is returned twice.
    """
    found = {}
    with ExitStack() as held:
        for name, port in wanted.items():
            probe = held.enter_context(socket.socket())
            try:
                # old connections of a server that has ended do not block its port, just as for the server itself
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port > 0))
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                probe.bind(("127.0.0.1", 0))
            found[name] = probe.getsockname()[1]
    return found
