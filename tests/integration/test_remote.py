"""One interface over every protocol: the same tests run against real servers whose folder the test can see."""

import os
import select
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.ftp import FtpSession
from shared.remote.listing import NOT_REGULAR
from shared.remote.service_manager import FtpServiceManager, open_session
from shared.remote.session import MORE_IN_MEMORY, Denied, Entry, Gone, LoginRefused, Longer, OddEntry, Session
from shared.remote.sftp import LOOK_S, SftpSession
from shared.settings import Remote
from tests.fakes.elements import PROTOCOLS, Element, free_port


def test_a_listing_tells_regular_files_alone_whatever_bytes_their_names_are(element: Element, session: Session) -> None:
    names = {b"A.xml": 5, b"odd 'name' %41;.xml": 1, b"\xff\xfe.xml": 2}
    if not element.endpoint.protocol.startswith("ftp"):  # its commands are lines, and its servers follow links
        names[b"two\nlines.xml"] = 3
        (element.pm / "link.xml").symlink_to(element.pm / "A.xml")
    for name, size in names.items():
        (element.pm / os.fsdecode(name)).write_bytes(b"x" * size)
    (element.pm / "done").mkdir()
    assert {entry.name: entry.size for entry in session.entries(element.directory)} == names
    for name, size in names.items():
        assert session.read(element.directory + b"/" + name, size) == b"x" * size


def test_a_listing_tells_the_time_of_a_file_and_a_later_look_the_same(element: Element, session: Session) -> None:
    (element.pm / "A.xml").write_bytes(b"1")
    os.utime(element.pm / "A.xml", (1_700_000_000, 1_700_000_000))
    (entry,) = session.entries(element.directory)
    assert entry == Entry(b"A.xml", 1, 1_700_000_000)
    assert session.look(element.directory + b"/A.xml") == replace(entry, name=element.directory + b"/A.xml")


def test_an_empty_directory_is_no_missing_one(element: Element, session: Session) -> None:
    assert list(session.entries(element.directory)) == []


def test_a_directory_of_thousands_is_listed_whole(element: Element, session: Session) -> None:
    names = {b"A%05d.xml" % number for number in range(3000)}
    for name in names:
        (element.pm / name.decode()).touch()
    assert {entry.name for entry in session.entries(element.directory)} == names


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 5_000_000])
def test_a_file_is_read_whole_in_pieces_of_any_order(element: Element, session: Session, size: int) -> None:
    content = bytes(i * 7 % 251 for i in range(min(size, 10_007))) * (size // 10_007 + 1)
    (element.pm / "A").write_bytes(content[:size])
    assert session.read(element.directory + b"/A", size) == content[:size]


def test_a_file_that_shrank_is_shorter_than_told(element: Element, session: Session) -> None:
    (element.pm / "A").write_bytes(b"x" * 40_000)
    assert session.read(element.directory + b"/A", 100_000) == b"x" * 40_000


def test_what_is_not_there_is_gone_and_the_session_goes_on(element: Element, session: Session) -> None:
    with pytest.raises(Gone):
        session.read(element.directory + b"/none", 1)
    with pytest.raises(Gone):
        list(session.entries(element.directory + b"/none"))
    with pytest.raises(Gone):
        session.move(element.directory + b"/none", element.directory + b"/other")
    assert session.look(element.directory + b"/none") is None
    (element.pm / "A").write_bytes(b"1")
    assert session.read(element.directory + b"/A", 1) == b"1"


def test_a_file_moves_into_a_directory_that_is_made_for_it_and_keeps_its_time(
    element: Element, session: Session
) -> None:
    (element.pm / "A").write_bytes(b"1")
    before = session.look(element.directory + b"/A")
    for _ in range(2):
        session.make_directory(element.directory + b"/done")
    session.move(element.directory + b"/A", element.directory + b"/done/A")
    session.write(element.directory + b"/done/A.reason.json", b"{}")
    assert before is not None
    assert session.look(element.directory + b"/done/A") == Entry(
        element.directory + b"/done/A", before.size, before.mtime_s
    )
    assert (element.pm / "done" / "A.reason.json").read_bytes() == b"{}"


def test_many_files_are_read_at_once_and_one_that_is_missing_spoils_no_other(
    element: Element, session: Session
) -> None:
    sizes = [0, 5, 5_000, 300_000, 3_000_000, *range(1, 200)]
    for number, size in enumerate(sizes):
        (element.pm / f"A{number}").write_bytes(bytes([number % 251]) * size)
    asked = [(element.directory + b"/A%d" % number, size) for number, size in enumerate(sizes)]
    asked.insert(3, (element.directory + b"/none", 10))
    asked.insert(50, (element.directory + b"/A4", 4_000_000))  # shrank, and asked for twice
    found = sorted(session.read_all(asked), key=lambda file: file[0])
    assert [path for path, _ in found] == sorted(path for path, _ in asked)
    for path, content in found:
        if path.endswith(b"none"):
            assert isinstance(content, Gone)
        else:
            assert content == (element.pm / path.rpartition(b"/")[2].decode()).read_bytes()


def test_reading_may_be_left_in_the_middle_and_the_session_goes_on(element: Element, session: Session) -> None:
    for number in range(50):
        (element.pm / f"A{number}").write_bytes(b"x" * 40_000)
    asked = [(element.directory + b"/A%d" % number, 40_000) for number in range(50)]
    for iterator in (session.read_all(asked), session.entries(element.directory)):
        next(iterator)
        iterator.close()  # type: ignore[union-attr]
    assert session.read(asked[49][0], 40_000) == b"x" * 40_000
    assert len(list(session.entries(element.directory))) == 50


def test_a_large_file_goes_into_a_file_of_ours(element: Element, session: Session) -> None:
    content = os.urandom(1 << 20) * 9
    (element.pm / "A").write_bytes(content)
    out = BytesIO()
    assert session.read_to(element.directory + b"/A", len(content), out) == len(content)
    assert out.getvalue() == content


@pytest.mark.parametrize("size", [10, 4096, 32_768, 300_000])
def test_a_file_is_read_to_its_end_whatever_size_was_listed(element: Element, session: Session, size: int) -> None:
    content = os.urandom(1 << 19) + b"end"
    (element.pm / "A").write_bytes(content)
    for listed in (size, len(content) - 1, len(content), len(content) + size, 1 << 50):
        out = BytesIO()
        assert session.read_to(element.directory + b"/A", listed, out) == len(content)
        assert out.getvalue() == content
        assert session.read(element.directory + b"/A", listed) == content


def test_a_file_far_longer_than_listed_is_given_up_and_the_session_goes_on(element: Element, session: Session) -> None:
    (element.pm / "A").write_bytes(b"x" * (MORE_IN_MEMORY + 200_000))
    (element.pm / "B").write_bytes(b"1")
    with pytest.raises(Longer, match="longer than"):
        session.read(element.directory + b"/A", 100_000)
    found = dict(session.read_all([(element.directory + b"/A", 1), (element.directory + b"/B", 1)]))
    assert isinstance(found[element.directory + b"/A"], Longer)
    assert found[element.directory + b"/B"] == b"1"


def test_a_link_put_in_place_after_the_listing_is_not_followed(element: Element, session: Session) -> None:
    if element.endpoint.protocol.startswith("ftp"):
        return  # its servers follow links, and cannot be asked
    (element.root / "secret").write_bytes(b"secret")
    (element.pm / "A").symlink_to(element.root / "secret")
    (element.pm / "B").write_bytes(b"1")
    with pytest.raises(Denied):
        session.read(element.directory + b"/A", 6)
    with pytest.raises(Denied):
        session.read_to(element.directory + b"/A", 6, BytesIO())
    found = dict(session.read_all([(element.directory + b"/A", 6), (element.directory + b"/B", 1)]))
    assert isinstance(found[element.directory + b"/A"], Denied)
    assert found[element.directory + b"/B"] == b"1"


def test_a_directory_that_became_a_link_after_the_listing_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "pm" / "below").mkdir(parents=True)
    (tmp_path / "pm" / "below" / "A").write_bytes(b"1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "A").write_bytes(b"secret")
    (tmp_path / "way").symlink_to(tmp_path)  # on the way to the directory, a link is the operator's
    here = bytes(tmp_path / "way" / "pm")
    session = open_session(Endpoint(name="e1", protocol="local", directory=os.fsdecode(here)), Remote())
    assert session.read(here + b"/below/A", 1) == b"1"
    (tmp_path / "pm" / "below").rename(tmp_path / "pm" / "old")
    (tmp_path / "pm" / "below").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Denied):
        session.read(here + b"/below/A", 6)
    with pytest.raises(Denied):
        list(session.tree(here + b"/below", 0))
    assert {entry.name for entry in session.entries(here + b"/old")} == {b"A"}


def test_links_and_special_files_are_listed_with_a_reason(element: Element, session: Session) -> None:
    if element.endpoint.protocol.startswith("ftp"):
        return  # its servers follow links
    (element.pm / "link").symlink_to(element.pm)
    os.mkfifo(element.pm / "pipe")
    found = [entry for _, entry in session.tree(element.directory, 0) if isinstance(entry, OddEntry)]
    assert {(entry.name, entry.reason) for entry in found} == {(b"link", NOT_REGULAR), (b"pipe", NOT_REGULAR)}


def test_a_move_into_a_directory_that_is_missing_is_refused_and_not_gone(element: Element, session: Session) -> None:
    (element.pm / "A").write_bytes(b"1")
    with pytest.raises(Denied):
        session.move(element.directory + b"/A", element.directory + b"/nowhere/A")
    assert (element.pm / "A").read_bytes() == b"1"


def test_a_tree_is_walked_as_deep_as_asked_and_links_are_not_followed(element: Element, session: Session) -> None:
    for number in range(70):
        (element.pm / f"d{number}" / "below").mkdir(parents=True)
        (element.pm / f"d{number}" / "A").write_bytes(b"12")
        (element.pm / f"d{number}" / "below" / "B").write_bytes(b"1")
    (element.pm / "top").touch()
    if not element.endpoint.protocol.startswith("ftp"):  # its servers follow links
        (element.pm / "d0" / "loop").symlink_to(element.pm)
    here = element.directory
    wanted = {(here, b"top")} | {(here + b"/d%d" % n, b"A") for n in range(70)}
    assert {(at, e.name) for at, e in session.tree(here, 1) if isinstance(e, Entry)} == wanted
    wanted |= {(here + b"/d%d/below" % n, b"B") for n in range(70)}
    assert {(at, e.name) for at, e in session.tree(here, 5) if isinstance(e, Entry)} == wanted


def test_a_file_is_deleted_once(element: Element, session: Session) -> None:
    (element.pm / "A").write_bytes(b"1")
    session.delete(element.directory + b"/A")
    assert not (element.pm / "A").exists()
    with pytest.raises(Gone):
        session.delete(element.directory + b"/A")


def test_another_thread_may_not_use_a_session_until_it_owns_it(element: Element, session: Session) -> None:
    with ThreadPoolExecutor(1) as pool:
        if element.endpoint.protocol != "local":
            with pytest.raises(RuntimeError, match="one owner"):
                pool.submit(session.look, element.directory + b"/A").result()
        pool.submit(session.own).result()
        assert pool.submit(session.look, element.directory + b"/A").result() is None


def test_a_closed_port_is_unreachable(element: Element) -> None:
    if element.endpoint.protocol != "local":
        with pytest.raises(Unreachable):
            open_session(replace(element.endpoint, port=free_port()), element.settings)


def test_a_wrong_password_is_unreachable_and_is_not_told(element: Element) -> None:
    if element.endpoint.password:
        with pytest.raises(LoginRefused) as refused:
            open_session(replace(element.endpoint, password="wrong-secret"), element.settings)
        assert "wrong-secret" not in str(refused.value)


def test_a_server_that_cannot_prove_who_it_is_is_refused(element: Element, tmp_path: Path) -> None:
    (tmp_path / "nobody").touch()
    if element.endpoint.protocol == "sftp":
        with pytest.raises(Unreachable, match="host key"):
            open_session(element.endpoint, replace(element.settings, known_hosts=str(tmp_path / "nobody")))
    if element.endpoint.protocol.startswith("ftps"):
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            open_session(element.endpoint, replace(element.settings, ca_file=""))


def test_a_cut_line_is_unreachable_and_the_pool_opens_another(element: Element) -> None:
    if element.endpoint.protocol == "local":
        return  # has no line
    (element.pm / "A").write_bytes(b"1")
    manager = FtpServiceManager(element.settings)
    with pytest.raises(Unreachable):
        look_until_cut(manager, element)
    with manager.session(element.endpoint) as session:
        assert session.read(element.directory + b"/A", 1) == b"1"
    manager.close()


def look_until_cut(manager: FtpServiceManager, element: Element) -> None:
    with manager.session(element.endpoint) as session:
        element.cut()
        while True:
            session.look(element.directory + b"/A")


def test_the_pool_hands_out_an_idle_session_again_but_not_one_that_is_too_old(element: Element) -> None:
    now = [0.0]
    manager = FtpServiceManager(replace(element.settings, idle_s=60.0), now_s=lambda: now[0])
    sessions = []
    for at in (0.0, 59.0, 200.0):
        now[0] = at
        with manager.session(element.endpoint) as session:
            sessions.append(session)
    assert sessions[0] is sessions[1] is not sessions[2]
    manager.close()


def test_an_idle_session_that_the_server_closed_is_replaced_and_the_element_does_not_fail(element: Element) -> None:
    if element.endpoint.protocol == "local":
        return  # has no line
    manager = FtpServiceManager(element.settings)
    with manager.session(element.endpoint) as first:
        first.check()
    element.cut()
    wait_until_closed(first)
    with manager.session(element.endpoint) as second:
        second.check()
    assert second is not first
    ((state, statistics),) = manager.statistics().values()
    assert (state, statistics.connected, statistics.failed) == ("closed", 2, 0)
    manager.close()


def wait_until_closed(session: Session) -> None:
    """Waits for the end of a connection that the server has cut."""
    if isinstance(session, SftpSession):
        session.transport.join(10)
    if isinstance(session, FtpSession):
        assert session.client.sock is not None
        assert select.select([session.client.sock], [], [], 10)[0]
    assert not session.alive()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_an_sftp_session_ends_at_once_though_its_thread_seldom_wakes_up(element: Element, end: str) -> None:
    session = open_session(element.endpoint, element.settings)
    if isinstance(session, SftpSession):
        assert session.transport.is_alive()
        getattr(session, end)()
        session.transport.join(LOOK_S / 2)
        assert not session.transport.is_alive()
    session.close()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Starts an SSH agent that holds no key yet."""
    path = tmp_path / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            assert process.poll() is None
        yield
        process.terminate()


@pytest.mark.skipif("openssh" not in PROTOCOLS, reason="no OpenSSH server here")
def test_an_agents_key_opens_the_door_and_without_it_the_reason_is_told(agent: None, tmp_path: Path) -> None:
    root, keys = tmp_path / "root", tmp_path / "keys"
    (root / "pm").mkdir(parents=True)
    keys.mkdir()
    with PROTOCOLS["openssh"](root, keys) as element:
        endpoint = replace(element.endpoint, key_file="", agent=True)
        with pytest.raises(LoginRefused, match="holds no key"):
            open_session(endpoint, element.settings)
        subprocess.run(["ssh-add", "-q", element.endpoint.key_file], check=True)
        session = open_session(endpoint, element.settings)
        assert list(session.entries(element.directory)) == []
        session.close()
