"""Moving files away, on a directory in memory that behaves as an SFTP server's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import orjson

from services.fetcher.settle import Settler, moved_path
from shared.messages import File, FileFound, FileStatus, Settle, file_identity
from shared.remote.session import Entry, Gone

STATUS = FileStatus(
    file_id=file_identity("4ga", "e1", "/pm/A.xml", 3, 7), system="4ga", endpoint="e1", element="e1",
    path="/pm/A.xml", size=3, mtime_s=7, epoch=1, stage="parsed", at_s=0.0,
)  # fmt: skip


@dataclass
class Element:
    """Files by path: size and mtime."""

    files: dict[bytes, tuple[int, int]] = field(default_factory=lambda: {b"/pm/A.xml": (3, 7)})
    written: dict[bytes, bytes] = field(default_factory=dict)

    def look(self, path: bytes) -> Entry | None:
        return Entry(path, *self.files[path]) if path in self.files else None

    def move(self, path: bytes, to: bytes) -> None:
        if path not in self.files:
            raise Gone(repr(path))
        self.files[to] = self.files.pop(path)

    def make_directory(self, directory: bytes) -> None:
        pass

    def write(self, path: bytes, content: bytes) -> None:
        self.written[path] = content

    @contextmanager
    def session(self, _file: File) -> Iterator["Element"]:
        yield self


def command(to: Literal["done", "error"], status: FileStatus = STATUS) -> Settle:
    return Settle(file_id=status.file_id, to=to, status=asdict(status))


def test_a_finished_file_moves_to_done() -> None:
    element = Element()
    assert Settler(element.session).settle(command("done")).stage == "done"
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_bad_file_moves_to_error_with_the_reason_beside_it() -> None:
    element = Element()
    bad = replace(STATUS, stage="failed", reason="line 3: no")
    assert Settler(element.session).settle(command("error", bad)).stage == "error"
    assert element.files == {b"/pm/error/A.xml": (3, 7)}
    assert orjson.loads(element.written[b"/pm/error/A.xml.reason.json"])["reason"] == "line 3: no"


def test_a_command_that_comes_again_changes_nothing() -> None:
    element = Element()
    for _ in range(2):
        assert Settler(element.session).settle(command("done")).stage == "done"
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_newer_file_of_the_same_name_stays_where_it_is() -> None:
    element = Element({b"/pm/A.xml": (4, 8)})
    assert Settler(element.session).settle(command("done")).stage == "done"
    assert element.files == {b"/pm/A.xml": (4, 8)}


def test_another_file_of_that_name_in_done_is_kept() -> None:
    element = Element({b"/pm/A.xml": (3, 7), b"/pm/done/A.xml": (9, 1)})
    Settler(element.session).settle(command("done"))
    again = moved_path(b"/pm/A.xml", "done", STATUS.file_id, again=True)
    assert element.files == {b"/pm/done/A.xml": (9, 1), again: (3, 7)}


def test_a_file_that_was_moved_before_is_recognised_where_it_lies() -> None:
    found = FileFound.decode(STATUS.encode().replace(b'"file-status"', b'"file-found"'))
    settler = Settler(Element({b"/pm/error/A.xml": (3, 7)}).session)
    status = settler.settled_as(found)
    assert status is not None
    assert status.stage == "error"
    assert Settler(Element({b"/pm/done/A.xml": (9, 9)}).session).settled_as(found) is None
