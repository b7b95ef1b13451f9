"""Faults of connections and logins against real servers: the reported reason, and that no session hangs."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

import asyncssh
import paramiko
import pytest

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.service_manager import FtpServiceManager, open_session
from shared.remote.session import LoginRefused
from shared.settings import Remote
from tests.fakes.elements import PROTOCOLS, Element

SHORT_S = 0.5


class Proxy:
    """A connection to a server that can stall or break after a number of bytes from it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.server = socket.create_server((host, 0))
        self.port = self.server.getsockname()[1]
        self.to = port
        self.open: list[socket.socket] = []
        self.left = 1 << 60
        self.cuts = False
        self.threads = [Thread(target=self._accept)]
        self.threads[0].start()

    def after(self, size: int, *, cut: bool) -> None:
        """Lets this many more bytes through, then closes the connection or stays silent."""
        self.left, self.cuts = size, cut

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            self.open += [client, server]
            for source, target, counts in ((client, server, False), (server, client, True)):
                thread = Thread(target=self._pass_on, args=(source, target, counts))
                self.threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(65_536):
                if counts:
                    data = data[: max(self.left, 0)]
                    self.left -= len(data)
                    if self.left <= 0 and self.cuts:
                        break
                target.sendall(data)
        except OSError:
            pass
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.threads[0].join()
        for line in self.open:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for line in self.open:
            line.close()


@contextmanager
def served(protocol: str, tmp_path: Path) -> Iterator[Element]:
    root, keys = tmp_path / "root", tmp_path / "keys"
    (root / "pm").mkdir(parents=True)
    keys.mkdir()
    with PROTOCOLS[protocol](root, keys) as element:
        yield element


@pytest.fixture(params=sorted({"sftp", "openssh"} & set(PROTOCOLS)))
def element(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Element]:
    with served(request.param, tmp_path) as one:
        yield one


@pytest.fixture
def line(element: Element) -> Iterator[tuple[Element, Proxy]]:
    """The element behind a proxy, with a short timeout."""
    proxy = Proxy(element.endpoint.port)
    known = Path(element.settings.known_hosts)
    known.write_text(known.read_text().replace(f":{element.endpoint.port} ", f":{proxy.port} "))
    yield (
        replace(
            element,
            endpoint=replace(element.endpoint, port=proxy.port),
            settings=replace(element.settings, timeout_s=SHORT_S),
        ),
        proxy,
    )
    proxy.close()


@pytest.mark.parametrize("cut", [True, False])
def test_a_line_that_is_cut_or_stalls_in_mid_download_is_unreachable(line: tuple[Element, Proxy], cut: bool) -> None:
    element, proxy = line
    (element.pm / "A").write_bytes(os.urandom(3_000_000))
    session = open_session(replace(element.endpoint), replace(element.settings, timeout_s=5.0))
    session.requests.channel.settimeout(SHORT_S)  # type: ignore[attr-defined]
    proxy.after(1_000_000, cut=cut)
    with pytest.raises(Unreachable):
        session.read(element.directory + b"/A", 3_000_000)
    session.close()


def test_a_half_open_line_is_found_when_it_is_taken_again(line: tuple[Element, Proxy]) -> None:
    element, proxy = line
    now = [0.0]
    manager = FtpServiceManager(replace(element.settings, timeout_s=2.0), now_s=lambda: now[0])
    with manager.session(element.endpoint) as first:
        assert first.look(element.directory + b"/A") is None
    proxy.after(0, cut=False)
    now[0] = 20.0
    first.requests.channel.settimeout(SHORT_S)  # type: ignore[attr-defined]
    with pytest.raises(Unreachable), manager.session(element.endpoint):
        pass  # what it opens instead gets no answer either
    proxy.after(1 << 60, cut=False)
    with manager.session(element.endpoint) as second:
        assert second is not first
    ((_, statistics),) = manager.statistics().values()
    assert (statistics.found_dead, statistics.failed, statistics.connected) == (1, 1, 2)
    manager.close()


def test_a_server_that_accepts_and_says_nothing_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for protocol in ("sftp", "ftp"):
            with pytest.raises(Unreachable):
                open_session(
                    Endpoint(name="e1", protocol=protocol, host="127.0.0.1", port=silent.getsockname()[1]),
                    Remote(timeout_s=SHORT_S),
                )


def test_a_host_whose_key_changed_is_refused_and_told_from_an_unknown_one(element: Element, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    changed = tmp_path / "changed"
    changed.write_text(f"[127.0.0.1]:{element.endpoint.port} {other}")
    with pytest.raises(Unreachable, match="differs from the key in"):
        open_session(element.endpoint, replace(element.settings, known_hosts=str(changed)))
    with pytest.raises(Unreachable, match="is not in any known-hosts file"):
        open_session(element.endpoint, replace(element.settings, known_hosts=""))


def test_a_hashed_host_name_is_known(element: Element) -> None:
    known = Path(element.settings.known_hosts)
    name, _, rest = known.read_text().partition(" ")
    known.write_text(f"{paramiko.HostKeys.hash_host(name)} {rest}")
    open_session(element.endpoint, element.settings).close()


@pytest.mark.skipif("openssh" not in PROTOCOLS, reason="no sshd here")
def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    with served("openssh", tmp_path) as element:
        key_file = Path(element.endpoint.key_file)
        asyncssh.read_private_key(str(key_file)).write_private_key(str(key_file), passphrase="secret")
        with pytest.raises(LoginRefused, match="passphrase-file"):
            open_session(element.endpoint, element.settings)
        (tmp_path / "wrong").write_text("wrong")
        with pytest.raises(LoginRefused, match="is the passphrase right"):
            open_session(replace(element.endpoint, passphrase_file=str(tmp_path / "wrong")), element.settings)
        (tmp_path / "right").write_text("secret\n")
        open_session(replace(element.endpoint, passphrase_file=str(tmp_path / "right")), element.settings).close()


def test_an_old_server_is_refused_unless_its_entry_allows_old_algorithms(tmp_path: Path) -> None:
    with served("sftp", tmp_path) as element, old_server() as port:
        known = Path(element.settings.known_hosts)
        known.write_text(known.read_text().replace(f":{element.endpoint.port} ", f":{port} "))
        old = replace(element.endpoint, port=port)
        with pytest.raises(Unreachable, match="legacy-algorithms"):
            open_session(old, element.settings)
        with pytest.raises(Unreachable, match="host key"):  # got as far as that
            open_session(replace(old, legacy_algorithms=True), element.settings)


@contextmanager
def old_server() -> Iterator[int]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            encryption_algs=["aes128-cbc"], mac_algs=["hmac-sha1"],
        )
    )  # fmt: skip
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield server.get_port()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
