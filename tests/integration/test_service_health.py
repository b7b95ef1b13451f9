"""A service that cannot reach a server says why at /readyz and in its health file within 30 s, and stays alive."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml

from shared import topics
from shared.health import stale
from shared.kafka.admin import provision
from tools.devstack.stack import Stack, free_ports

WITHIN_S = 90.0


@dataclass
class Service:
    """A service that runs as its container does."""

    process: "subprocess.Popen[str]"
    port: int
    health_file: Path
    environment: dict[str, str]
    began_s: float

    def ready(self) -> tuple[int, str]:
        """Returns the answer of /readyz; 0 while nobody listens."""
        asked = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            asked.request("GET", "/readyz")
            answer = asked.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, HTTPException):
            return 0, ""
        finally:
            asked.close()

    def until(self, is_so: Callable[[tuple[int, str]], bool]) -> None:
        """Waits until /readyz answers as expected, at most so long as a service may take."""
        until_s = time.monotonic() + WITHIN_S
        while not is_so(found := self.ready()):
            assert time.monotonic() < until_s, found
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"{self.process.args!r} exited with status {self.process.wait(0.2)}")

    def health(self) -> tuple[int, str]:
        """Returns the exit code and the output of the health check of a container."""
        argv = [sys.executable, "-m", "shared.health"]
        ran = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return ran.returncode, ran.stderr


@contextmanager
def running(name: str, folder: Path, config: dict[str, Any]) -> Iterator[Service]:
    port = free_ports({"metrics": 0})["metrics"]
    (folder / "pmflow.yaml").write_text(yaml.safe_dump(config))
    environment = {
        **os.environ, "PMFLOW_CONFIG": str(folder / "pmflow.yaml"), "PMFLOW_METRICS__PORT": str(port),
        "PMFLOW_HEALTH__FILE": str(folder / "health"),
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        argv = [sys.executable, "-m", f"services.{name}"]
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, text=True)
        try:
            yield Service(process, port, folder / "health", environment, time.monotonic())
        finally:
            process.kill()
            process.wait(20)


def dead(folder: Path) -> dict[str, Any]:
    (folder / "inventory.yaml").write_text("[{name: enb-1, protocol: local, directory: /nowhere}]")
    return {
        "kafka": {"bootstrap-servers": "127.0.0.1:1"},
        "zookeeper": {"connectionString": "127.0.0.1:1"},
        "mysql": {"host": "127.0.0.1", "port": 1},
        "4gh": {"inventory": str(folder / "inventory.yaml")},
    }


def test_a_fetcher_without_brokers_is_alive_not_ready_and_says_why(tmp_path: Path) -> None:
    with running("fetcher", tmp_path, dead(tmp_path)) as fetcher:
        fetcher.until(lambda answer: answer[0] == 503 and "check kafka.bootstrap-servers" in answer[1])
        fetcher.until(lambda _: stale(fetcher.health_file, time.time()) == "")
        code, said = fetcher.health()
        assert code == 0
        assert "no broker at 127.0.0.1:1 answered" in said


def test_a_scanner_without_zookeeper_says_so(tmp_path: Path) -> None:
    with running("scanner", tmp_path, dead(tmp_path)) as scanner:
        scanner.until(lambda answer: answer[0] == 503 and "check zookeeper.connectionString" in answer[1])


def test_a_tracker_without_brokers_says_why_before_it_exits(tmp_path: Path) -> None:
    with running("tracker", tmp_path, dead(tmp_path)) as tracker:
        tracker.until(lambda answer: answer[0] == 503 and "check kafka.bootstrap-servers" in answer[1])
        assert tracker.process.wait(60) == 70
        assert "Traceback" not in (tmp_path / "log").read_text()
        assert tracker.health()[0] == 1


def test_a_writer_without_its_database_says_why_until_the_database_answers(stack: Stack, tmp_path: Path) -> None:
    provision(stack.kafka, topics.provisioned(["4gh"]))
    config = dead(tmp_path) | {"kafka": {"bootstrap-servers": stack.kafka.bootstrap_servers}}
    config["mysql"] = {"host": stack.mysql_host, "port": stack.mysql_port, "user": "nobody"}
    with running("mysql_writer", tmp_path, config) as writer:
        writer.until(lambda answer: answer[0] == 503 and "Access denied for user 'nobody'" in answer[1])
        writer.until(lambda _: "pmflow doctor" in writer.health()[1])  # the file is written once a second
        assert writer.health()[0] == 0
    config["mysql"] = {"host": stack.mysql_host, "port": stack.mysql_port, "user": "root", "database": "pmflow_health"}
    with running("mysql_writer", tmp_path, config) as writer:
        writer.until(lambda answer: answer == (200, "ok\n"))
        assert writer.health() == (0, "")
