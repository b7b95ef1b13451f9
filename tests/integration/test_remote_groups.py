"""Many files of an element at once, on real servers: each has its own outcome, and they cost few round trips."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC

import pytest

from services.fetcher.settle.settler import Settler
from shared.messages import File, FileStatus, Settle, file_identity, path_text
from shared.remote.session import Denied, Entry, Gone, Session
from shared.remote.sftp import connect_sftp
from shared.remote.sftp_requests import ByteStream
from shared.settings import System
from tests.fakes.elements import Element


def settler(session: Session, system: System) -> Settler:
    @contextmanager
    def lent(_: File) -> Iterator[Session]:
        yield session

    return Settler(lent, lambda _: system, lambda _: UTC)


def parsed(element: Element, *names: str) -> list[Settle]:
    """Puts files on the element; returns the commands to move them to done/."""
    commands = []
    for name in names:
        (element.pm / name).write_text(name)
        mtime_s, path = int((element.pm / name).stat().st_mtime), path_text(element.directory + b"/" + name.encode())
        status = FileStatus(
            file_id=file_identity("4ga", "e1", path, len(name), mtime_s), system="4ga", endpoint="e1", element="e1",
            path=path, size=len(name), mtime_s=mtime_s, epoch=1, stage="parsed", at_s=0.0,
        )  # fmt: skip
        commands.append(Settle(file_id=status.file_id, to="done", status=status))
    return commands


def outcomes(made: Settler, commands: list[Settle]) -> dict[str, str]:
    """Returns what became of each file: its stage, or the class of the refusal."""
    told = zip(commands, made.settle(commands), strict=True)
    return {
        command.status.path.rpartition("/")[2]: end.stage if isinstance(end, FileStatus) else type(end).__name__
        for command, end in told
    }


def test_many_files_are_looked_at_moved_and_deleted_at_once_each_with_its_own_outcome(
    element: Element, session: Session
) -> None:
    def at(name: str) -> bytes:
        return element.directory + b"/" + name.encode()

    for name in "ABC":
        (element.pm / name).write_text(name)
        os.utime(element.pm / name, (1_700_000_000, 1_700_000_000))
    assert session.look_all([at("A"), at("none"), at("B")]) == [
        Entry(at("A"), 1, 1_700_000_000), None, Entry(at("B"), 1, 1_700_000_000)
    ]  # fmt: skip
    wanted = [at("done"), at("done/today"), at("A/below"), at("done")]
    made = session.make_directories(wanted)
    assert [made[0], made[1], made[3]] == [None, None, None]
    assert isinstance(made[2], Gone | Denied)
    assert session.make_directories(wanted[:2]) == [None, None]
    moved = session.move_all([(at("A"), at("done/today/A")), (at("none"), at("done/none")), (at("B"), at("no/B"))])
    assert [type(refused) for refused in moved] == [type(None), Gone, Denied]
    deleted = session.delete_all([at("B"), at("none"), at("C")])
    assert [type(refused) for refused in deleted] == [type(None), Gone, type(None)]
    assert [path.name for path in element.pm.rglob("*") if path.is_file()] == ["A"]
    assert (session.look_all([]), session.move_all([]), session.delete_all([])) == ([], [], [])
    assert session.make_directories([]) == []


def test_thousands_of_files_are_moved_at_once(element: Element, session: Session) -> None:
    count = 200 if element.endpoint.protocol.startswith("ftp") else 2_000
    names = [f"A{number:04d}" for number in range(count)]
    for name in names:
        (element.pm / name).write_text(name)
    (element.pm / "done").mkdir()
    here = element.directory
    pairs = [(b"%s/%s" % (here, name.encode()), b"%s/done/%s" % (here, name.encode())) for name in names]
    assert session.move_all(pairs) == [None] * count
    assert sorted(path.name for path in (element.pm / "done").iterdir()) == names
    seen = session.look_all([to for _, to in pairs])
    assert [entry.name for entry in seen if isinstance(entry, Entry)] == [to for _, to in pairs]


def test_one_refused_move_leaves_the_other_files_of_the_element_done(element: Element, session: Session) -> None:
    commands = parsed(element, "A", "B", "C", "D")
    (element.pm / "C").unlink()
    (element.pm / "done" / "B" / "full").mkdir(parents=True)
    made = settler(session, System(name="4ga", on_conflict="replace"))
    assert outcomes(made, commands) == {"A": "done", "B": "Denied", "C": "done", "D": "done"}
    assert sorted(path.name for path in element.pm.rglob("*") if path.is_file()) == ["A", "B", "D"]
    assert (element.pm / "B").exists()
    (element.pm / "done" / "B" / "full").rmdir()
    (element.pm / "done" / "B").rmdir()
    assert outcomes(made, commands) == {"A": "done", "B": "done", "C": "done", "D": "done"}
    assert sorted(path.name for path in (element.pm / "done").iterdir()) == ["A", "B", "D"]


def test_files_are_deleted_together_and_files_that_cannot_be_read_are_moved_with_their_reasons(
    element: Element, session: Session
) -> None:
    commands = parsed(element, "A", "B", "C")
    commands[1] = replace(commands[1], to="error", status=replace(commands[1].status, stage="failed", reason="no"))
    made = settler(session, System(name="4ga", on_done="delete"))
    assert outcomes(made, commands) == {"A": "done", "B": "error", "C": "done"}
    left = {str(path.relative_to(element.pm)) for path in element.pm.rglob("*") if path.is_file()}
    assert left == {"error/B", "error/B.reason.json"}


def test_a_directory_that_was_removed_after_the_session_saw_it_is_created_again(
    element: Element, session: Session
) -> None:
    made = settler(session, System(name="4ga"))
    assert outcomes(made, parsed(element, "A")) == {"A": "done"}
    (element.pm / "done" / "A").unlink()
    (element.pm / "done").rmdir()
    commands = parsed(element, "B", "C")
    outcomes(made, commands)  # may be refused: then the session forgets the directory
    assert outcomes(made, commands) == {"B": "done", "C": "done"}
    assert sorted(path.name for path in (element.pm / "done").iterdir()) == ["B", "C"]


@dataclass
class Counted:
    """A channel that counts round trips: waits for a response after something was sent."""

    channel: ByteStream
    trips: int = 0
    has_sent: bool = False

    def sendall(self, data: bytes, /) -> object:
        self.has_sent = True
        return self.channel.sendall(data)

    def recv(self, size: int, /) -> bytes:
        self.trips += self.has_sent
        self.has_sent = False
        return self.channel.recv(size)


@pytest.mark.parametrize("count", [1, 4, 60])
def test_a_group_of_any_size_takes_two_round_trips_once_the_directory_is_known(element: Element, count: int) -> None:
    if element.endpoint.protocol != "sftp":
        return  # one command at a time
    session = connect_sftp(element.endpoint, element.settings)
    counted = Counted(session.requests.channel)
    session.requests.channel = counted
    made = settler(session, System(name="4ga"))
    trips = []
    for group in ("A", "B"):
        names = [f"{group}{number}.xml" for number in range(count)]
        assert outcomes(made, parsed(element, *names)) == dict.fromkeys(names, "done")
        trips.append(counted.trips)
        counted.trips = 0
    session.close()
    assert trips == [5, 2]  # a look, the directory (seen, created, seen again) and the move; then a look and the move
