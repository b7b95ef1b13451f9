"""A ZooKeeper with TLS, logins and ACLs: who owns the nodes of the election, and what is said when it refuses."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from kazoo.exceptions import NoAuthError
from kazoo.security import make_digest_acl_credential

from services.scanner.leader import LOCKS_PATH, Leadership, Term, reported_states
from services.scanner.settings import Zookeeper
from services.scanner.state import SystemState
from services.scanner.zookeeper import ROOT_PATH, ZookeeperRefused, protect, session
from shared.configuration.resolve import resolve
from shared.errors import Unreachable
from tests.integration.test_remote_faults import Proxy
from tools.devstack import stack as devstack
from tools.devstack.security import make_identities, password
from tools.devstack.stack import Stack

WAIT_S = 20.0
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""kazoo leaves it to the garbage collector to close the socket of a handshake that failed."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home: Path = tmp_path_factory.mktemp("secured")
    try:
        yield devstack.up(home, secured=True)
    finally:
        devstack.down(home)


def login_as(stack: Stack, name: str, chroot: str) -> Zookeeper:
    """Returns a login over TLS below a path of its own, as nodes belong to the login that created them."""
    found = resolve(Zookeeper, stack.zookeeper_section(name), "zookeeper")
    return replace(found, connection_string=found.connection_string + chroot)


def with_password(settings: Zookeeper, word: str) -> Zookeeper:
    return replace(settings, password_file="", password=word)


@pytest.fixture
def chroot(secured: Stack) -> str:
    """A new path that everybody may change."""
    path = f"/{uuid.uuid4().hex}"
    with session(Zookeeper(connection_string=secured.zookeeper)) as client:
        client.create(path)
    return path


def logins(secured: Stack, chroot: str) -> dict[str, Zookeeper]:
    digest = login_as(secured, "scanner", chroot)
    by_certificate = replace(
        digest,
        authentication="none",
        username="",
        password_file="",
        cert_file=str(secured.home / "identities" / "scanner.pem"),
    )
    plain = replace(by_certificate, tls=False, ca_file="", cert_file="", connection_string=secured.zookeeper + chroot)
    return {
        "digest": digest,
        "sasl": replace(digest, authentication="sasl"),
        "sasl without TLS": replace(
            plain, authentication="sasl", username="scanner", password=password(secured.home / "identities", "scanner")
        ),
        "certificate": by_certificate,
    }


def lead_once(settings: Zookeeper, system: str) -> list[Term]:
    """Returns the terms of a scanner that leads a system once, and reports its state."""
    leadership, terms, stop = Leadership(settings, "one"), list[Term](), Event()

    def work(term: Term) -> None:
        leadership.raised(system, term, known_epoch=0)
        leadership.report(SystemState(system=system, state="leading", epoch=term.epoch, since_s=1.0))
        assert [state.system for state in reported_states(settings)] == [system]
        terms.append(term)

    leadership.hold(system, work, stop)
    leadership.close()
    return terms


@pytest.mark.parametrize("kind", ["digest", "sasl", "sasl without TLS", "certificate"])
def test_a_login_leads_and_nobody_else_can_read_or_change_its_nodes(secured: Stack, chroot: str, kind: str) -> None:
    settings = logins(secured, chroot)[kind]
    assert len(lead_once(settings, "4ga")) == 1
    kinds = {**logins(secured, chroot), "certificate": login_as(secured, "scanner", chroot)}
    identity: dict[str, Any] = {"username": "fetcher", "password": password(secured.home / "identities", "fetcher")}
    stranger = replace(kinds[kind], **identity, password_file="")
    for other in (stranger, Zookeeper(connection_string=secured.zookeeper + chroot)):
        with session(other) as client:
            attempts: list[Callable[[], object]] = [
                lambda: client.get_children(LOCKS_PATH),
                lambda: client.create(f"{LOCKS_PATH}/4ga/mine"),
                lambda: client.set(f"{ROOT_PATH}/epoch/4ga", b"99"),
                lambda: client.delete(f"{ROOT_PATH}/epoch/4ga"),
            ]
            for attempt in attempts:
                with pytest.raises(NoAuthError):
                    attempt()


def test_a_reader_sees_the_scanners_and_changes_nothing(secured: Stack, chroot: str) -> None:
    word = password(secured.home / "identities", "operator")
    reader = f"digest:{make_digest_acl_credential('operator', word)}"
    owner = replace(login_as(secured, "scanner", chroot), readers=(reader,))
    lead_once(owner, "4ga")
    operator = login_as(secured, "operator", chroot)
    assert reported_states(operator) == []  # the report ended with the session
    with session(operator) as client, pytest.raises(NoAuthError):
        client.set(f"{ROOT_PATH}/epoch/4ga", b"99")
    with session(replace(owner, readers=())) as client:
        protect(client, replace(owner, readers=()))  # who is a reader no more sees nothing more
    with pytest.raises(ZookeeperRefused, match="user 'operator'"):
        reported_states(operator)


def test_open_nodes_of_before_are_protected_and_their_content_stays(secured: Stack, chroot: str) -> None:
    open_to_all = Zookeeper(connection_string=secured.zookeeper + chroot)
    lead_once(open_to_all, "4ga")
    lead_once(login_as(secured, "scanner", chroot), "4ga")
    with session(login_as(secured, "scanner", chroot)) as client:
        assert int(client.get(f"{ROOT_PATH}/epoch/4ga")[0]) > 0
        for path in (ROOT_PATH, f"{ROOT_PATH}/epoch/4ga", LOCKS_PATH, f"{LOCKS_PATH}/4ga"):
            assert [acl.id.scheme for acl in client.get_acls(path)[0]] == ["digest"]
    with session(open_to_all) as client, pytest.raises(NoAuthError):
        client.get(f"{ROOT_PATH}/epoch/4ga")


def why_not(settings: Zookeeper) -> str:
    with pytest.raises(Unreachable) as refused, session(settings, 4.0) as client:
        protect(client, settings)
    return str(refused.value)


def test_what_is_refused_is_named_with_the_setting_to_change(secured: Stack, chroot: str, tmp_path: Path) -> None:
    good = login_as(secured, "scanner", chroot)
    lead_once(good, "4ga")
    make_identities(tmp_path / "others")
    assert "user 'scanner' a node below /pmflow" in why_not(with_password(good, "wrong"))
    assert "password-file" in why_not(with_password(good, "wrong"))
    assert "refused the login of user 'scanner'" in why_not(
        replace(with_password(good, "wrong"), authentication="sasl")
    )
    unknown = why_not(replace(good, ca_file=str(tmp_path / "others" / "ca.crt")))
    assert "unable to get local issuer certificate" in unknown
    assert "zookeeper.ca-file" in unknown
    assert "an anonymous client" in why_not(Zookeeper(connection_string=secured.zookeeper + chroot))
    assert "tls" in why_not(Zookeeper(connection_string=good.connection_string))
    assert "expects TLS" in why_not(replace(good, connection_string=secured.zookeeper))


def test_a_certificate_of_another_host_is_refused(secured: Stack, chroot: str) -> None:
    good = login_as(secured, "scanner", chroot)
    with closing(Proxy(secured.ports["zookeeper_tls"], "127.0.0.2")) as line:
        elsewhere = why_not(replace(good, connection_string=f"127.0.0.2:{line.port}{chroot}"))
    assert "IP address mismatch" in elsewhere
    assert "connectionString" in elsewhere


def test_a_scanner_that_zookeeper_refuses_ends_and_says_why_within_half_a_minute(
    secured: Stack, chroot: str, tmp_path: Path
) -> None:
    good = login_as(secured, "scanner", chroot)
    lead_once(good, "4ga")
    make_identities(tmp_path / "others")
    kafka = {"PMFLOW_KAFKA__BOOTSTRAP_SERVERS": secured.kafka.bootstrap_servers}
    for other, said in (
        ({"PASSWORD_FILE": "", "PASSWORD": "wrong"}, "refused user 'scanner'"),
        ({"CA_FILE": str(tmp_path / "others" / "ca.crt")}, "unable to get local issuer certificate"),
    ):
        section = {
            "CONNECTION_STRING": good.connection_string,
            "TLS": "true",
            "CA_FILE": good.ca_file,
            "AUTHENTICATION": "digest",
            "USERNAME": "scanner",
            "PASSWORD_FILE": good.password_file,
            **other,
        }
        named = {f"PMFLOW_ZOOKEEPER__{key}": value for key, value in section.items() if value}
        env = {**os.environ, **kafka, **named, "PMFLOW_CONFIG": ""}
        began_s = monotonic()
        argv = [sys.executable, "-m", "services.scanner"]
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 70, ended.stderr
        assert monotonic() - began_s < 30
        lines = [line for line in ended.stderr.splitlines() if "process exits" in line]
        assert len(lines) == 1
        assert said in lines[0]
        assert "Traceback" not in ended.stderr


def test_a_login_that_is_refused_for_a_while_leads_afterwards(secured: Stack, chroot: str, tmp_path: Path) -> None:
    """A server that ends during a login looks as if it had refused it, and kazoo's client then gives up for good."""
    good = replace(login_as(secured, "scanner", chroot), authentication="sasl")
    word = tmp_path / "password"
    word.write_text("wrong")
    leadership, leads, stop = Leadership(replace(good, password_file=str(word)), "one"), Event(), Event()

    def work(term: Term) -> None:
        leads.set()
        stop.wait(WAIT_S)

    def hold() -> None:
        while not stop.is_set():
            leadership.hold("4ga", work, stop)

    thread = Thread(target=hold, daemon=True)
    thread.start()
    assert not leads.wait(2.0)
    word.write_text(Path(good.password_file).read_text())
    assert leads.wait(WAIT_S)
    stop.set()
    thread.join(WAIT_S)
    leadership.close()
