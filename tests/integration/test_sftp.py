"""The adapter to elements, against a real SFTP server whose folder the test can see."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import asyncssh
import pytest

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.settings import Sftp
from shared.sftp import Entry, FtpServiceManager, Gone, Session, connect


class Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("pm", "secret")


@dataclass
class Element:
    """An SFTP server in a thread of its own, its root, and how it is reached."""

    root: Path
    endpoint: Endpoint
    settings: Sftp
    connections: list[asyncssh.SSHServerConnection]
    loop: asyncio.AbstractEventLoop

    def cut(self) -> None:
        """Every open line, at once."""
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    root, key = tmp_path / "root", asyncssh.generate_private_key("ssh-ed25519")
    (root / "pm").mkdir(parents=True)
    loop, ready, connections, ports = asyncio.new_event_loop(), Event(), [], []

    class Noting(Server):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Noting,
            server_host_keys=[key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )

    def run() -> None:
        server = loop.run_until_complete(listen())
        ports.append(server.get_port())
        ready.set()
        loop.run_forever()
        server.close()
        for connection in connections:
            connection.abort()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = Thread(target=run)
    thread.start()
    ready.wait(10)
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{ports[0]} {key.export_public_key().decode()}")
    endpoint = Endpoint(name="e1", host="127.0.0.1", port=ports[0], username="pm", password="secret", directory="/pm")
    yield Element(root, endpoint, Sftp(known_hosts=str(known_hosts), timeout_s=5.0), connections, loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def session(element: Element) -> Iterator[Session]:
    made = connect(element.endpoint, element.settings)
    yield made
    made.close()


def test_a_listing_tells_regular_files_alone_whatever_bytes_their_names_are(element: Element, session: Session) -> None:
    pm = element.root / "pm"
    (pm / "A.xml").write_bytes(b"12345")
    (pm / "done").mkdir()
    (pm / "link.xml").symlink_to(pm / "A.xml")
    (element.root / "pm").joinpath("odd 'name'\n.xml").write_bytes(b"1")
    Path(str(pm).encode().decode() + "/").joinpath(b"\xff\xfe.xml".decode(errors="surrogateescape")).write_bytes(b"22")
    found = {entry.name: entry.size for entry in session.list(b"/pm")}
    assert found == {b"A.xml": 5, b"odd 'name'\n.xml": 1, b"\xff\xfe.xml": 2}
    assert session.read(b"/pm/\xff\xfe.xml", 2) == b"22"


def test_a_directory_of_thousands_is_listed_whole(element: Element, session: Session) -> None:
    names = {b"A%05d.xml" % number for number in range(3000)}
    for name in names:
        (element.root / "pm" / name.decode()).touch()
    assert {entry.name for entry in session.list(b"/pm")} == names


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 5_000_000])
def test_a_file_is_read_whole_in_pieces_of_any_order(element: Element, session: Session, size: int) -> None:
    content = bytes(i * 7 % 251 for i in range(min(size, 10_007))) * (size // 10_007 + 1)
    (element.root / "pm" / "A").write_bytes(content[:size])
    assert session.read(b"/pm/A", size) == content[:size]


def test_a_file_that_shrank_is_shorter_than_told(element: Element, session: Session) -> None:
    (element.root / "pm" / "A").write_bytes(b"x" * 40_000)
    assert session.read(b"/pm/A", 100_000) == b"x" * 40_000


def test_what_is_not_there_is_gone_and_the_session_goes_on(element: Element, session: Session) -> None:
    with pytest.raises(Gone):
        session.read(b"/pm/none", 1)
    with pytest.raises(Gone):
        list(session.list(b"/none"))
    with pytest.raises(Gone):
        session.move(b"/pm/none", b"/pm/other")
    assert session.look(b"/pm/none") is None
    (element.root / "pm" / "A").write_bytes(b"1")
    assert session.read(b"/pm/A", 1) == b"1"


def test_a_file_moves_into_a_directory_that_is_made_for_it_and_keeps_its_time(
    element: Element, session: Session
) -> None:
    (element.root / "pm" / "A").write_bytes(b"1")
    before = session.look(b"/pm/A")
    for _ in range(2):
        session.make_directory(b"/pm/done")
    session.move(b"/pm/A", b"/pm/done/A")
    session.write(b"/pm/done/A.reason.json", b"{}")
    assert before is not None
    assert session.look(b"/pm/done/A") == Entry(b"/pm/done/A", before.size, before.mtime_s)
    assert (element.root / "pm" / "done" / "A.reason.json").read_bytes() == b"{}"


def test_an_unknown_host_key_a_wrong_password_and_a_closed_port_are_unreachable(
    element: Element, tmp_path: Path
) -> None:
    (tmp_path / "nobody").touch()
    with pytest.raises(Unreachable, match="host key"):
        connect(element.endpoint, replace(element.settings, known_hosts=str(tmp_path / "nobody")))
    with pytest.raises(Unreachable) as refused:
        connect(replace(element.endpoint, password="wrong-secret"), element.settings)
    assert "wrong-secret" not in str(refused.value)
    with pytest.raises(Unreachable):
        connect(replace(element.endpoint, port=1), element.settings)


def test_a_cut_line_is_unreachable_and_the_pool_opens_another(element: Element) -> None:
    (element.root / "pm" / "A").write_bytes(b"1")
    manager = FtpServiceManager(element.settings)
    with pytest.raises(Unreachable):
        look_until_cut(manager, element)
    with manager.session(element.endpoint) as session:
        assert session.read(b"/pm/A", 1) == b"1"
    manager.close()


def look_until_cut(manager: FtpServiceManager, element: Element) -> None:
    with manager.session(element.endpoint) as session:
        element.cut()
        while True:
            session.look(b"/pm/A")


def test_the_pool_hands_out_an_idle_session_again_but_not_one_that_is_too_old(element: Element) -> None:
    now = [0.0]
    manager = FtpServiceManager(element.settings, now_s=lambda: now[0])
    sessions = []
    for at in (0.0, 59.0, 200.0):
        now[0] = at
        with manager.session(element.endpoint) as session:
            sessions.append(session)
    assert sessions[0] is sessions[1] is not sessions[2]
    manager.close()
