"""Files are settled in a directory in memory that behaves like that of an SFTP server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any, Literal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.settle.destination import destination, parents
from services.fetcher.settle.settler import Settler
from shared.errors import Unreachable
from shared.messages import File, FileFound, FileStatus, Settle, file_identity, path_text
from shared.remote.session import Denied, Entry, FileByFile, Gone
from shared.settings import System
from tests.fakes.fetching import settled

STATUS = FileStatus(
    file_id=file_identity("4ga", "e1", "/pm/A.xml", 3, 7), system="4ga", endpoint="e1", element="e1",
    path="/pm/A.xml", size=3, mtime_s=7, epoch=1, stage="parsed", at_s=0.0,
)  # fmt: skip


@dataclass
class Element(FileByFile):
    """A directory: path -> size and modification time."""

    files: dict[bytes, tuple[int, int]] = field(default_factory=lambda: {b"/pm/A.xml": (3, 7)})
    written: dict[bytes, bytes] = field(default_factory=dict)
    made: list[bytes] = field(default_factory=list)

    def look(self, path: bytes) -> Entry | None:
        return Entry(path, *self.files[path]) if path in self.files else None

    def move(self, path: bytes, to: bytes) -> None:
        if path not in self.files:
            raise Gone(repr(path))
        self.files[to] = self.files.pop(path)

    def delete(self, path: bytes) -> None:
        if path not in self.files:
            raise Gone(repr(path))
        del self.files[path]

    def make_directory(self, directory: bytes) -> None:
        self.made.append(directory)

    def write(self, path: bytes, content: bytes) -> None:
        self.written[path] = content

    @contextmanager
    def session(self, _file: File) -> Iterator["Element"]:
        yield self


def settler(element: Element, **settings: Any) -> Settler:
    system = System(name="4ga", **settings)
    return Settler(element.session, lambda _: system, lambda _: UTC)


def command(to: Literal["done", "error"], status: FileStatus = STATUS) -> Settle:
    return Settle(file_id=status.file_id, to=to, status=status)


def test_a_finished_file_moves_to_done() -> None:
    element = Element()
    assert settled(settler(element), command("done")).stage == "done"
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_bad_file_moves_to_error_with_the_reason_beside_it() -> None:
    element = Element()
    bad = replace(STATUS, stage="failed", reason="line 3: no")
    assert settled(settler(element), command("error", bad)).stage == "error"
    assert element.files == {b"/pm/error/A.xml": (3, 7)}
    assert orjson.loads(element.written[b"/pm/error/A.xml.reason.json"])["reason"] == "line 3: no"


def test_a_command_that_comes_again_changes_nothing() -> None:
    element = Element()
    for _ in range(2):
        assert settled(settler(element), command("done")).stage == "done"
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_newer_file_of_the_same_name_stays_where_it_is() -> None:
    element = Element({b"/pm/A.xml": (4, 8)})
    assert settled(settler(element), command("done")).stage == "done"
    assert element.files == {b"/pm/A.xml": (4, 8)}


def test_another_file_of_that_name_in_done_is_kept() -> None:
    element = Element({b"/pm/A.xml": (3, 7), b"/pm/done/A.xml": (9, 1)})
    settled(settler(element), command("done"))
    again = b"/pm/done/A.xml." + STATUS.file_id.encode()
    assert element.files == {b"/pm/done/A.xml": (9, 1), again: (3, 7)}


def test_a_file_that_was_moved_before_is_recognised_where_it_lies() -> None:
    found = FileFound.decode(STATUS.encode().replace(b'"file-status"', b'"file-found"'))
    mover = settler(Element({b"/pm/error/A.xml": (3, 7)}))
    status = mover.settled_as(found)
    assert status is not None
    assert status.stage == "error"
    assert settler(Element({b"/pm/done/A.xml": (9, 9)})).settled_as(found) is None


def test_a_system_may_delete_its_files_or_leave_them() -> None:
    deleted, left = Element(), Element()
    assert settled(settler(deleted, on_done="delete"), command("done")).stage == "done"
    assert settled(settler(left, on_done="leave"), command("done")).stage == "done"
    assert (deleted.files, left.files) == ({}, {b"/pm/A.xml": (3, 7)})


def test_a_file_that_cannot_be_read_is_moved_all_the_same() -> None:
    element = Element()
    bad = replace(STATUS, stage="failed", reason="line 3: no")
    settled(settler(element, on_done="delete", error_directory="bad"), command("error", bad))
    assert element.files == {b"/pm/bad/A.xml": (3, 7)}


def test_another_file_of_that_name_may_be_replaced() -> None:
    element = Element({b"/pm/A.xml": (3, 7), b"/pm/done/A.xml": (9, 1)})
    settled(settler(element, on_conflict="replace"), command("done"))
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_folder_of_a_date_is_that_of_the_files_period_so_that_a_repeated_move_is_recognised() -> None:
    element = Element()
    dated = replace(STATUS, end_s=1_684_131_300)
    mover = settler(element, done_directory="/archive/%Y%m%d")
    for _ in range(2):
        assert settled(mover, command("done", dated)).stage == "done"
    assert element.files == {b"/archive/20230515/A.xml": (3, 7)}
    assert element.made == [b"/archive", b"/archive/20230515"]


@given(name=st.binary(min_size=1, max_size=30).filter(lambda name: b"/" not in name), again=st.booleans())
def test_a_name_of_any_bytes_stays_as_it_is(name: bytes, again: bool) -> None:
    file = replace(STATUS, path=path_text(b"/pm/" + name))
    to = destination(file, "done", System(name="4ga"), UTC, again=again)
    assert to.startswith(b"/pm/done/" + name)
    assert parents(to.rpartition(b"/")[0], above=b"/pm") == [b"/pm/done"]


def test_a_file_of_a_backfill_stays_where_it_lies() -> None:
    element = Element({b"/pm/done/A.xml": (3, 7)})
    status = replace(STATUS, lies_at="/pm/done/A.xml")
    for end in ("done", "error"):
        command = Settle(file_id=STATUS.file_id, to=end, status=status)
        assert settled(settler(element), command).stage == end
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_move_that_fails_for_want_of_a_directory_is_no_move_by_somebody_else() -> None:
    class NoDirectory(Element):
        def move(self, path: bytes, to: bytes) -> None:
            raise Gone(repr(to))

    element = NoDirectory()
    with pytest.raises(Denied, match=r"/pm/A\.xml is still there"):
        settled(settler(element), command("done"))
    assert element.files == {b"/pm/A.xml": (3, 7)}


def test_a_file_that_is_moved_at_last_is_no_longer_one_that_cannot_be_moved() -> None:
    stuck = replace(STATUS, moves_refused=3, not_moved="read-only", values=7)
    status = settled(settler(Element()), command("done", stuck))
    assert (status.stage, status.moves_refused, status.not_moved, status.values) == ("done", 0, "", 7)


def named(path: str, size: int = 3, **fields: Any) -> FileStatus:
    return replace(STATUS, path=path, size=size, file_id=file_identity("4ga", "e1", path, size, 7), **fields)


def test_files_of_one_element_are_settled_together_each_with_its_own_outcome() -> None:
    """A is moved, B was moved before, C has a newer file in its place, D is refused, E cannot be read."""

    class Refusing(Element):
        def move(self, path: bytes, to: bytes) -> None:
            if path == b"/pm/D":
                raise Denied("read-only")
            super().move(path, to)

    element = Refusing({b"/pm/A": (3, 7), b"/pm/done/B": (3, 7), b"/pm/C": (9, 9), b"/pm/D": (3, 7), b"/pm/E": (3, 7)})
    bad = named("/pm/E", stage="failed", reason="no")
    given = [*(command("done", named(f"/pm/{name}")) for name in "ABCD"), command("error", bad)]
    outcomes = settler(element).settle(given)
    assert [o.stage if isinstance(o, FileStatus) else str(o) for o in outcomes] == [
        "done", "done", "done", "read-only", "error"
    ]  # fmt: skip
    assert element.files == {
        b"/pm/done/A": (3, 7), b"/pm/done/B": (3, 7), b"/pm/C": (9, 9), b"/pm/D": (3, 7), b"/pm/error/E": (3, 7)
    }  # fmt: skip
    assert list(element.written) == [b"/pm/error/E.reason.json"]


def test_files_that_go_to_one_place_are_all_kept_though_they_are_settled_together() -> None:
    element = Element({b"/pm/%d/A" % n: (n, 7) for n in range(3)})
    files = [named(f"/pm/{n}/A", n) for n in range(3)]
    outcomes = settler(element, done_directory="/done").settle([command("done", file) for file in files])
    assert [outcome.stage for outcome in outcomes if isinstance(outcome, FileStatus)] == ["done"] * 3
    assert element.files == {
        b"/done/A": (0, 7),
        b"/done/A." + files[1].file_id.encode(): (1, 7),
        b"/done/A." + files[2].file_id.encode(): (2, 7),
    }


def test_a_command_that_comes_twice_in_one_group_moves_its_file_once() -> None:
    element = Element()
    outcomes = settler(element).settle([command("done"), command("done")])
    assert [outcome.stage for outcome in outcomes if isinstance(outcome, FileStatus)] == ["done", "done"]
    assert element.files == {b"/pm/done/A.xml": (3, 7)}


def test_a_line_that_breaks_in_the_middle_concerns_only_the_files_that_have_no_outcome_yet() -> None:
    class Breaking(Element):
        def move_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Gone | Denied | None]:
            super().move_all(pairs[:1])
            raise Unreachable("cut")

    element = Breaking({b"/pm/A": (3, 7), b"/pm/B": (3, 7), b"/pm/done/C": (3, 7)})
    given = [command("done", named(f"/pm/{name}")) for name in "ABC"]
    outcomes = settler(element).settle(given)
    assert [o.stage if isinstance(o, FileStatus) else str(o) for o in outcomes] == ["cut", "cut", "done"]
    again = settler(Element(element.files)).settle(given)
    assert [outcome.stage for outcome in again if isinstance(outcome, FileStatus)] == ["done"] * 3
    assert element.files == {b"/pm/done/A": (3, 7), b"/pm/done/B": (3, 7), b"/pm/done/C": (3, 7)}


def test_a_directory_that_cannot_be_made_concerns_only_the_files_that_need_it() -> None:
    class NoRoom(Element):
        def make_directory(self, directory: bytes) -> None:
            if directory == b"/pm/b/done":
                raise Denied("no room")

    element = NoRoom({b"/pm/a/A": (3, 7), b"/pm/b/B": (3, 7)})
    done, refused = settler(element).settle([command("done", named(f"/pm/{path}")) for path in ("a/A", "b/B")])
    assert isinstance(done, FileStatus)
    assert isinstance(refused, Denied)
    assert element.files == {b"/pm/a/done/A": (3, 7), b"/pm/b/B": (3, 7)}


def test_an_element_that_does_not_answer_refuses_all_but_the_files_that_stay_where_they_lie() -> None:
    @contextmanager
    def session(_: File) -> Iterator[Element]:
        raise Unreachable("dead")
        yield

    mover = Settler(session, lambda _: System(name="4ga"), lambda _: UTC)
    left, refused = mover.settle([command("done", replace(STATUS, lies_at="/pm/done/A.xml")), command("done")])
    assert isinstance(left, FileStatus)
    assert str(refused) == "dead"
