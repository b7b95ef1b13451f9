"""`make audit` asks a database of vulnerabilities for every locked package: here a server that answers as OSV does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]


class Database(BaseHTTPRequestHandler):
    """A database that knows vulnerabilities of the packages in `vulnerable`, and remembers what it was asked."""

    vulnerable: frozenset[str] = frozenset()
    asked: set[tuple[str, str]] = set()  # noqa: RUF012 - one for all requests

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.asked.add((name, query["version"]))
        fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}
        known = {"id": "PYSEC-2026-1", "affected": [{"package": query["package"], "ranges": [fixed]}]}
        answer = json.dumps({"vulns": [known]} if name in self.vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def database() -> Iterator[str]:
    """The address of the database."""
    Database.vulnerable, Database.asked = frozenset(), set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


def audit(database: str) -> "subprocess.CompletedProcess[str]":
    argv = ["sh", "tools/setup/audit.sh", sys.executable]
    environment = os.environ | {"OSV_URL": database}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_an_audit_asks_for_every_package_and_names_the_vulnerable_ones(database: str) -> None:
    done = audit(database)
    assert done.returncode == 0, done.stderr
    locked = (ROOT / "requirements.lock").read_text()
    assert {name for name, _ in Database.asked} >= {"paramiko", "orjson", "faust-streaming", "uv", "pip-audit"}
    assert ("paramiko", locked.partition("\nparamiko==")[2].split()[0]) in Database.asked
    Database.vulnerable = frozenset({"paramiko"})
    found = audit(database)
    assert found.returncode == 1
    assert [line.split()[0::2] for line in found.stdout.splitlines() if line.startswith("paramiko")] == [
        ["paramiko", "PYSEC-2026-1"]
    ]
    assert found.stderr.count("No known vulnerabilities found") == 2  # the other lock files are still checked
