"""The stack: Kafka, ZooKeeper, MySQL and the ClickHouse engine under one folder, started and stopped together."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pymysql
import yaml

from shared.kafka.admin import brokers_that_answer
from shared.kafka.record import KafkaFailure
from tools.devstack import downloads, processes

COMPONENTS = ("kafka", "zookeeper", "mysql", "clickhouse")
USUAL_PORTS = {"kafka": 19092, "kafka_controller": 19093, "zookeeper": 12181, "mysql": 13306, "clickhouse": 18123}
"""Of the developer's own stack; those taken are replaced by free ones."""
READY_WITHIN_S = 90.0
LOOK_S = 0.1
SOCKET = "mysqld.sock"
"""In the data directory, and by a relative name: the path below a test's folder is longer than a socket's may be."""
CLUSTER_ID = "cG1mbG93LWRldi1zdGFjaw"
ROOT = Path(__file__).parents[2]


class NotReady(RuntimeError):  # noqa: N818
    """A server ended or does not answer; says which, and how its log ends."""


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
        """The overlay with other sections over it."""
        overlay = self.overlay()
        for section, values in overrides.items():
            overlay[section] = {**overlay.get(section, {}), **values}
        self.overlay_file.write_text(yaml.safe_dump(overlay))

    @classmethod
    def load(cls, home: Path) -> "Stack":
        """The stack of a folder, running or not."""
        return cls(home=home, ports=json.loads((home / "stack.json").read_text())["ports"])

    def save(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "stack.json").write_text(json.dumps({"ports": dict(self.ports)}))


def up(home: Path, *, usual_ports: bool = False) -> Stack:
    """Start what does not run, on the ports it had before, and wait until each server answers a real request.

    Raises:
        Missing: something of the machine is missing.
        NotReady: a server does not answer; the end of its log says why.
    """
    home = home.resolve()
    if (home / "stack.json").exists():
        stack = Stack.load(home)
    else:
        stack = Stack(home=home, ports=_free_ports(USUAL_PORTS if usual_ports else dict.fromkeys(USUAL_PORTS, 0)))
        stack.save()
    downloads.everything()  # before the threads: two Mavens at once spoil their common store
    with ThreadPoolExecutor(max_workers=len(COMPONENTS)) as pool:
        list(pool.map(lambda component: _bring_up(stack, component), COMPONENTS))
    return stack


def _bring_up(stack: Stack, component: str) -> None:
    if processes.find(stack.home, component) is None:
        start_component(stack.home, component)
    wait_ready(stack, component)


def start_component(home: Path, component: str) -> None:
    """Start one server; does not wait for it."""
    home = home.resolve()
    stack = Stack.load(home)
    data = home / "data" / component
    prepared = _PREPARE[component](stack, data)
    processes.start(home, component, prepared, cwd=ROOT)


def stop_component(home: Path, component: str) -> None:
    """Stop one server in good order, if it runs."""
    found = processes.find(home.resolve(), component)
    if found is not None:
        found.stop(timeout_s=40)


def down(home: Path) -> None:
    """Stop all that runs under the folder, the newest layer first; the data stays."""
    home = home.resolve()
    servers = [process for process in processes.running(home) if process.name in COMPONENTS]
    others = [process for process in processes.running(home) if process.name not in COMPONENTS]
    for layer in (others, servers):
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(processes.Process.stop, layer))


def reset(home: Path) -> None:
    """Stop all and forget all data; what was downloaded stays."""
    down(home)
    for name in ("data", "log", "run", "simulator"):
        shutil.rmtree(home / name, ignore_errors=True)
    for name in ("stack.json", "overlay.yaml"):
        (home / name).unlink(missing_ok=True)


def status(home: Path) -> dict[str, str]:
    """Component -> ready | does not answer | stopped."""
    home = home.resolve()
    found = {}
    for component in COMPONENTS:
        if processes.find(home, component) is None:
            found[component] = "stopped"
        else:
            found[component] = "ready" if _answers(Stack.load(home), component) else "does not answer"
    return found


def wait_ready(stack: Stack, component: str) -> None:
    """Until it answers.

    Raises:
        NotReady: it ended, or does not answer in time.
    """
    until_s = monotonic() + READY_WITHIN_S
    while not _answers(stack, component):
        process = processes.find(stack.home, component)
        if process is None or monotonic() > until_s:
            log = (stack.home / "log" / f"{component}.log").read_text(errors="replace")[-3000:]
            raise NotReady(f"{component} {'ended' if process is None else 'does not answer'}; its log ends:\n{log}")
        sleep(LOOK_S)


def _answers(stack: Stack, component: str) -> bool:
    return _ANSWERS[component](stack)


def _kafka_answers(stack: Stack) -> bool:
    try:
        return brokers_that_answer(stack.kafka, timeout_s=1.0) > 0
    except KafkaFailure:
        return False


def _zookeeper_answers(stack: Stack) -> bool:
    """By its command `srvr`, which a server that does not serve yet refuses."""
    try:
        with socket.create_connection(("127.0.0.1", stack.ports["zookeeper"]), timeout=2) as line:
            line.sendall(b"srvr")
            return b"Mode: " in line.recv(4096)
    except OSError:
        return False


def _mysql_answers(stack: Stack) -> bool:
    try:
        with pymysql.connect(
            host=stack.mysql_host, port=stack.mysql_port, user="root", connect_timeout=2
        ) as connection:
            return bool(connection.cursor().execute("SELECT 1"))
    except pymysql.OperationalError:
        return False


def _clickhouse_answers(stack: Stack) -> bool:
    try:
        with urlopen(f"{stack.clickhouse_url}/?query=SELECT%201", timeout=2) as answer:  # noqa: S310 - http, ours
            return bool(answer.read() == b"1\n")
    except (URLError, OSError):
        return False


_ANSWERS: Mapping[str, Callable[[Stack], bool]] = {
    "kafka": _kafka_answers,
    "zookeeper": _zookeeper_answers,
    "mysql": _mysql_answers,
    "clickhouse": _clickhouse_answers,
}


def _prepare_kafka(stack: Stack, data: Path) -> list[str]:
    """One node, broker and controller (KRaft)."""
    data.mkdir(parents=True, exist_ok=True)
    config = data.parent / "kafka.properties"
    controller = f"127.0.0.1:{stack.ports['kafka_controller']}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{stack.kafka},CONTROLLER://{controller}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # a killed broker is refused until its last session ends, 9 s by default
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
    }
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    log4j = f"-Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.properties'}"
    jvm = [downloads.java(), log4j, "-cp", f"{downloads.jars('kafka')}/*"]
    if not (data / "meta.properties").exists():
        storage = [*jvm, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config)]
        formatted = subprocess.run(storage, capture_output=True, text=True, check=False)
        if formatted.returncode:
            raise NotReady(
                f"kafka's storage cannot be formatted:\n{formatted.stdout[-1000:]}{formatted.stderr[-2000:]}"
            )
    return [*jvm[:1], "-Xmx512m", "-Xms256m", *jvm[1:], "kafka.Kafka", str(config)]


def _prepare_zookeeper(stack: Stack, data: Path) -> list[str]:
    data.mkdir(parents=True, exist_ok=True)
    config = data.parent / "zoo.cfg"
    config.write_text(
        f"tickTime=1000\ndataDir={data}\nclientPort={stack.ports['zookeeper']}\nclientPortAddress=127.0.0.1\n"
        "admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n"
    )
    classes = f"{downloads.jars('zookeeper')}/*"
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    return [downloads.java(), "-Xmx128m", "-cp", classes, main, str(config)]


def _prepare_mysql(stack: Stack, data: Path) -> list[str]:
    if not data.exists():
        partial = data.with_name(f"mysql.{os.getpid()}")  # a copy cut short must not pass for data
        shutil.copytree(downloads.mysql_template(), partial, dirs_exist_ok=True)
        downloads.publish(partial, data)
    # A killed server leaves it; mysqld does not start when its pid is by now another process's.
    (data / f"{SOCKET}.lock").unlink(missing_ok=True)
    return [
        *downloads.mysqld(data),
        f"--port={stack.mysql_port}",
        "--bind-address=127.0.0.1",
        f"--socket={SOCKET}",
        f"--pid-file={data}/mysqld.pid",
        "--mysqlx=OFF",
        "--skip-log-bin",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=256M",
        "--innodb-log-file-size=134217728",
        "--max-connections=200",
    ]


def _prepare_clickhouse(stack: Stack, data: Path) -> list[str]:
    data.mkdir(parents=True, exist_ok=True)
    port = str(stack.ports["clickhouse"])
    return [sys.executable, "-m", "tools.devstack.clickhouse_front", "--path", str(data), "--port", port]


_PREPARE: Mapping[str, Callable[[Stack, Path], list[str]]] = {
    "kafka": _prepare_kafka,
    "zookeeper": _prepare_zookeeper,
    "mysql": _prepare_mysql,
    "clickhouse": _prepare_clickhouse,
}


def _free_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """The wanted ports where they are free, else any free ones; 0 wants any. Held open together: none comes twice."""
    found = {}
    with ExitStack() as held:
        for name, port in wanted.items():
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            found[name] = probe.getsockname()[1]
    return found
