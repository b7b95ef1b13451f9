"""ClickHouse over TLS, and with the privileges of `pmflow grants clickhouse` only.

Both are tried on the embedded engine behind its front: this shows what the client checks and what the engine allows,
not the TLS or the logins of a server.
"""

import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from time import time as time_s
from typing import Any

import pytest

from services.ch_bridge.connection import Connection, client_of
from services.ch_bridge.cycles import CycleTable
from services.ch_bridge.files import FileTable
from services.ch_bridge.grants import ClickhouseUser, grant_statements, privileges
from services.ch_bridge.settings import Clickhouse
from services.tracker.cycles import CycleStatistics
from shared.errors import Hopeless, Unreachable
from shared.messages import FileStatus
from shared.settings import BadSettings
from shared.sinks.rules import StorageRules
from tests.fakes.elements import free_port
from tests.integration.test_clickhouse import Bridge
from tests.integration.test_remote_faults import Proxy
from tools.devstack import processes
from tools.devstack.security import make_identities

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60.0
USERS = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default>
<password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<grants>{grants}</grants></default></users></clickhouse>"""
CONFIG = "<clickhouse><user_directories><users_xml><path>{users}</path></users_xml></user_directories></clickhouse>"
ACCESS_DENIED = "497"


@dataclass(frozen=True)
class Served:
    """A front of its own, with a plain and a TLS port."""

    identities: Path
    port: int
    tls_port: int

    def at(self, database: str) -> Clickhouse:
        return Clickhouse(url=f"http://127.0.0.1:{self.port}/{database}")

    def over_tls(self, database: str, host: str = "127.0.0.1", port: int = 0) -> Clickhouse:
        url = f"https://{host}:{port or self.tls_port}/{database}"
        return Clickhouse(url=url, ca_file=str(self.identities / "ca.crt"))


@contextmanager
def served(home: Path, grants: Sequence[str] = ()) -> Iterator[Served]:
    """Serves a path, with these rights in the database `p` only if any are given."""
    identities, options = home / "identities", list[str]()
    make_identities(identities)
    made = Served(identities, free_port(), free_port())
    if grants:
        users, config = home / "users.xml", home / "config.xml"
        users.write_text(USERS.format(grants="".join(f"<query>{grant}</query>" for grant in grants)))
        config.write_text(CONFIG.format(users=users))
        options = ["--config", str(config)]
    argv = ["-m", "tools.devstack.clickhouse_front", "--path", str(home / "data"), "--port", str(made.port)]
    argv += ["--tls-port", str(made.tls_port), "--identities", str(identities), *options]
    process = processes.start(home, "front", [sys.executable, *argv], cwd=ROOT)
    try:
        until_s = monotonic() + READY_WITHIN_S
        while not answers(made.at("p" if grants else "default")):
            assert process.alive(), process.log_tail()
            assert monotonic() < until_s
            sleep(0.1)
        yield made
    finally:
        process.stop()


def answers(at: Clickhouse) -> bool:
    try:
        with client_of(at) as client:
            return bool(client.command("SELECT 1") == 1)
    except Exception:  # noqa: BLE001 - it does not serve yet
        return False


def the_whole_job(at: Clickhouse) -> None:
    """Does everything that the service does."""
    bridge = Bridge(at)
    bridge.rules = StorageRules(split_dn=True, retention_days=3)
    end_s = int(time_s()) // 900 * 900
    bridge.write(bridge.batch([["NRCellDU=1", 0, 1, 2]], end_s=end_s))
    bridge.write(bridge.batch([["NRCellDU=1", 0, 3, "word"]], ver=2, end_s=end_s))  # widens a column
    for days in (5, 0):
        bridge.rules = replace(bridge.rules, retention_days=days)
        bridge.clickhouse.forget()
        bridge.write(bridge.batch([["NRCellDU=2", 0, 1]], (f"c{days}",), ver=3 + days, end_s=end_s))
    assert ("e1", "NRCellDU=1") in bridge.rows("a", "b")
    bridge.clickhouse.close()
    connection = Connection(at)
    CycleTable(connection).keep(
        [CycleStatistics(lambda _: ("clickhouse",), lateness_s=0, keep_s=1).figures("4ga", 900, (), 1.0)]
    )
    FileTable(connection).keep([file_status(time_s() - 10 * 86400)])
    FileTable(connection, lambda _: 1).keep([file_status(time_s())])  # drops the old one
    connection.close()


def file_status(at_s: float) -> FileStatus:
    return FileStatus(
        file_id=uuid.uuid4().hex[:16], system="4ga", endpoint="ne1", element="ne1", path="/pm/f", size=1,
        mtime_s=int(at_s), epoch=1, stage="done", at_s=at_s,
    )  # fmt: skip


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("front")) as made:
        yield made


def test_the_whole_job_is_done_over_tls(front: Served) -> None:
    the_whole_job(front.over_tls(f"tls_{uuid.uuid4().hex[:8]}"))


def test_a_client_certificate_is_presented(front: Served) -> None:
    pem = front.identities / "ch_bridge.pem"
    for key_file in ("", str(front.identities / "ch_bridge.key")):
        with client_of(replace(front.over_tls("default"), cert_file=str(pem), key_file=key_file)) as client:
            assert client.command("SELECT 1") == 1


def why_not(at: Clickhouse) -> str:
    with pytest.raises(Unreachable) as refused:
        Connection(at).do("SELECT 1")
    return str(refused.value)


def test_a_server_that_fails_verification_is_refused(front: Served, tmp_path: Path) -> None:
    make_identities(tmp_path / "others")
    good = front.over_tls("default")
    assert "CERTIFICATE_VERIFY_FAILED" in why_not(replace(good, ca_file=str(tmp_path / "others" / "ca.crt")))
    assert "CERTIFICATE_VERIFY_FAILED" in why_not(replace(good, ca_file=""))
    with closing(Proxy(front.tls_port, "127.0.0.2")) as line:
        elsewhere = front.over_tls("default", "127.0.0.2", line.port)
        assert "IP address mismatch" in why_not(elsewhere)
        Connection(replace(elsewhere, tls_host_name="localhost")).do("SELECT 1")
    assert "SSL" in why_not(front.over_tls("default", port=front.port))


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://h/db", "ca_file": "/ca.crt"},
        {"url": "http://h/db", "cert_file": "/c.pem"},
        {"url": "chdb:///db", "tls_host_name": "h"},
        {"url": "https://h/db", "key_file": "/c.key"},
    ],
)
def test_files_for_tls_without_tls_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="need"):
        Clickhouse(**wrong)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a path with an empty database `p`."""
    home = tmp_path_factory.mktemp("granted")
    with served(home) as front:
        Connection(front.at("default")).do("CREATE DATABASE p")
    return home


def grant(role_privileges: Sequence[str]) -> str:
    return f"GRANT {', '.join(role_privileges)} ON p.*"


def test_what_is_printed_is_what_is_granted_here() -> None:
    *_, printed = grant_statements(ClickhouseUser(role="writer", database="p", user="u"))
    assert printed == f"{grant(privileges('writer')).replace('p.*', '`p`.*')} TO `u`"


def test_the_writers_privileges_suffice_for_the_whole_job_and_for_nothing_else(database: Path) -> None:
    with served(database, [grant(privileges("writer"))]) as front:
        the_whole_job(front.at("p"))
        for refused in (
            "DROP TABLE p.pm_object",
            "DROP DATABASE p",
            "TRUNCATE TABLE p.pm_object",
            "CREATE DATABASE q",
            "CREATE USER u",
            "SELECT * FROM file('/etc/hostname', 'LineAsString')",
            "SELECT * FROM url('http://127.0.0.1:1', 'LineAsString')",
            "SELECT * FROM system.users",
            "SYSTEM SHUTDOWN",
        ):
            assert is_denied(front.at("p"), refused), refused


def test_a_reader_reads_all_and_changes_nothing(database: Path) -> None:
    with served(database, [grant(privileges("writer"))]) as front:
        the_whole_job(front.at("p"))
    with served(database, [grant(privileges("reader"))]) as front, client_of(front.at("p")) as client:
        names = [row[0] for row in client.query("SELECT table_name FROM pm_group").result_rows]
        assert names
        for name in (*names, "pm_counter", "pm_file", "pm_cycle", "pm_object"):
            client.query(f"SELECT * FROM `{name}`")
        for refused in ("INSERT INTO p.pm_object (element) VALUES ('e')", "CREATE TABLE p.t (a Int8) ENGINE = Memory"):
            assert is_denied(front.at("p"), refused), refused


IMPLIED = {"CREATE VIEW"}
"""ClickHouse gives it to whoever may create tables."""


@pytest.mark.parametrize("privilege", sorted({*privileges("writer")} - IMPLIED))
def test_without_any_of_its_privileges_the_job_cannot_be_done(tmp_path: Path, privilege: str) -> None:
    with served(tmp_path) as front:
        Connection(front.at("default")).do("CREATE DATABASE p")
    others = [other for other in privileges("writer") if other != privilege]
    with served(tmp_path, [grant(others)]) as front, pytest.raises((Hopeless, Unreachable), match=ACCESS_DENIED):
        the_whole_job(front.at("p"))


def is_denied(at: Clickhouse, statement: str) -> bool:
    connection = Connection(at)
    try:
        connection.do(statement)
    except (Hopeless, Unreachable) as error:
        return ACCESS_DENIED in str(error)
    finally:
        connection.close()
    return False
