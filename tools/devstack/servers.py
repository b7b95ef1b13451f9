"""Prepares the four servers, and checks each of them with a real request."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pymysql

from shared.configuration.kafka import Kafka
from shared.kafka.admin import brokers_that_answer
from shared.kafka.record import KafkaFailure
from tools.devstack import downloads, security

HOST = "127.0.0.1"
SOCKET = "mysqld.sock"
"""The socket in the data directory, by a relative name: a test's absolute path may be too long for a socket."""
CLUSTER_ID = "cG1mbG93LWRldi1zdGFjaw"


class NotReady(RuntimeError):  # noqa: N818
    """A server has ended or does not answer; the text names it and contains the end of its log."""


def answers(component: str, ports: Mapping[str, int]) -> bool:
    """Returns True if the server answers a real request."""
    return _ANSWERS[component](ports)


def prepared(component: str, ports: Mapping[str, int], data: Path) -> list[str]:
    """Creates the server's data directory and configuration as needed; returns the command that starts it."""
    if security.is_secured(ports):
        security.make_identities(security.identities(data))
    return _PREPARE[component](ports, data)


def _at(ports: Mapping[str, int], name: str) -> str:
    return f"{HOST}:{ports[name]}"


def _kafka_answers(ports: Mapping[str, int]) -> bool:
    try:
        return brokers_that_answer(Kafka(bootstrap_servers=_at(ports, "kafka")), timeout_s=1.0) > 0
    except KafkaFailure:
        return False


def _zookeeper_answers(ports: Mapping[str, int]) -> bool:
    """Sends the command `srvr`, which a server refuses until it serves."""
    try:
        with socket.create_connection(("127.0.0.1", ports["zookeeper"]), timeout=2) as line:
            line.sendall(b"srvr")
            return b"Mode: " in line.recv(4096)
    except OSError:
        return False


def _mysql_answers(ports: Mapping[str, int]) -> bool:
    try:
        with pymysql.connect(host=HOST, port=ports["mysql"], user="root", connect_timeout=2) as connection:
            return bool(connection.cursor().execute("SELECT 1"))
    except pymysql.OperationalError:
        return False


def _clickhouse_answers(ports: Mapping[str, int]) -> bool:
    try:
        with urlopen(f"http://{_at(ports, 'clickhouse')}/?query=SELECT%201", timeout=2) as answer:
            return bool(answer.read() == b"1\n")
    except (URLError, OSError):
        return False


_ANSWERS: Mapping[str, Callable[[Mapping[str, int]], bool]] = {
    "kafka": _kafka_answers,
    "zookeeper": _zookeeper_answers,
    "mysql": _mysql_answers,
    "clickhouse": _clickhouse_answers,
}


def _prepare_kafka(ports: Mapping[str, int], data: Path) -> list[str]:
    """Prepares a single node that is both broker and controller (KRaft)."""
    data.mkdir(parents=True, exist_ok=True)
    config = data.parent / "kafka.properties"
    config.touch(mode=0o600)  # it contains the passwords of a secured stack
    config.write_text("".join(f"{key}={value}\n" for key, value in _kafka_settings(ports, data).items()))
    log4j = f"-Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.properties'}"
    jvm = [downloads.java(), log4j, *security.kafka_options(ports, data), "-cp", f"{downloads.jars('kafka')}/*"]
    if not (data / "meta.properties").exists():
        shutil.rmtree(data)  # an interrupted format may have left parts
        storage = [*jvm, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config)]
        storage += security.scram_users(ports, data)
        formatted = subprocess.run(storage, capture_output=True, text=True, check=False)
        if formatted.returncode:
            raise NotReady(
                f"Kafka's storage cannot be formatted:\n{formatted.stdout[-1000:]}{formatted.stderr[-2000:]}"
            )
    return [
        *jvm[:1],
        "-Xmx512m",
        "-Xms256m",
        *security.kafka_options(ports, data),
        *jvm[1:],
        "kafka.Kafka",
        str(config),
    ]


def _kafka_settings(ports: Mapping[str, int], data: Path) -> dict[str, object]:
    controller = f"{HOST}:{ports['kafka_controller']}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{_at(ports, 'kafka')},CONTROLLER://{controller}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # after a kill, the broker is refused until its last session expires, by default 9 s
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        **security.listeners(ports, data),
    }


def _prepare_zookeeper(ports: Mapping[str, int], data: Path) -> list[str]:
    data.mkdir(parents=True, exist_ok=True)
    config = data.parent / "zoo.cfg"
    secured, options = security.zookeeper_settings(ports, data)
    settings = {
        "tickTime": 1000,
        "dataDir": data,
        "clientPort": ports["zookeeper"],
        "clientPortAddress": HOST,
        "admin.enableServer": "false",
        "maxClientCnxns": 0,
        "4lw.commands.whitelist": "srvr",
        **secured,
    }
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    classes = f"{downloads.jars('zookeeper')}/*"
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    return [downloads.java(), "-Xmx128m", *options, "-cp", classes, main, str(config)]


def _prepare_mysql(ports: Mapping[str, int], data: Path) -> list[str]:
    if not data.exists():
        partial = data.with_name("mysql.partial")  # an interrupted copy must not be mistaken for data
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(downloads.mysql_template(), partial)
        downloads.publish(partial, data)
    # A killed server leaves this file; mysqld does not start if another process has the pid in it by now.
    (data / f"{SOCKET}.lock").unlink(missing_ok=True)
    return [
        *downloads.mysqld(data),
        f"--port={ports['mysql']}",
        "--bind-address=127.0.0.1",
        f"--socket={SOCKET}",
        f"--pid-file={data}/mysqld.pid",
        "--mysqlx=OFF",
        "--skip-log-bin",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=256M",
        "--innodb-log-file-size=134217728",
        "--max-connections=200",
        *security.mysql_options(ports, data),
    ]


def _prepare_clickhouse(ports: Mapping[str, int], data: Path) -> list[str]:
    data.mkdir(parents=True, exist_ok=True)
    port = str(ports["clickhouse"])
    argv = [sys.executable, "-m", "tools.devstack.clickhouse_front", "--path", str(data), "--port", port]
    return [*argv, *security.clickhouse_options(ports, data)]


_PREPARE: Mapping[str, Callable[[Mapping[str, int], Path], list[str]]] = {
    "kafka": _prepare_kafka,
    "zookeeper": _prepare_zookeeper,
    "mysql": _prepare_mysql,
    "clickhouse": _prepare_clickhouse,
}
