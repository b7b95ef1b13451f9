"""The files that may leave the ledger."""

from dataclasses import replace

import pytest

from services.tracker.sweep import Candidates, is_off_element
from shared.kafka.record import Record
from shared.messages import FileStatus, Stage
from shared.topics import FILES_STATUS

DAY_S = 86_400.0
DONE = FileStatus(
    file_id="00000000000000f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="done", at_s=1000.0,
)  # fmt: skip


def record(status: FileStatus, offset: int = 0, key: str = "", value: bytes | None = b"") -> Record:
    name = (key or status.file_id).encode()
    return Record(FILES_STATUS.name, 0, offset, name, status.encode() if value == b"" else value, status.at_s)


def leaving(*records: Record, most: int = 10) -> Candidates:
    found = Candidates(lambda status: is_off_element(status, "move"), DAY_S, most)
    for each in records:
        found.on_record(each)
    return found


@pytest.mark.parametrize(
    ("stage", "on_done", "leaves"),
    [
        ("done", "move", True),
        ("done", "delete", True),
        ("done", "leave", False),
        ("done", "", False),
        ("error", "move", False),
        ("lost", "", True),
        ("postponed", "move", False),
        ("parsed", "move", False),
    ],
)
def test_only_files_that_are_no_longer_on_their_element_leave(stage: Stage, on_done: str, leaves: bool) -> None:
    assert is_off_element(replace(DONE, stage=stage), on_done) == leaves


def test_a_file_leaves_if_it_ended_long_ago() -> None:
    assert leaving(record(DONE)).keys == {b"00000000000000f1"}
    for young in (replace(DONE, at_s=DAY_S + 1), replace(DONE, end_s=int(DAY_S) + 1), replace(DONE, stage="parsed")):
        assert not leaving(record(young)).keys


@pytest.mark.parametrize("later", [replace(DONE, stage="found"), replace(DONE, at_s=DAY_S + 1)])
def test_a_file_that_came_back_or_is_gone_already_stays(later: FileStatus) -> None:
    assert not leaving(record(DONE), record(later, 1)).keys
    assert not leaving(record(DONE), record(DONE, 1, value=None)).keys
    assert not leaving(record(DONE), record(DONE, 1, value=b"not JSON")).keys


def test_a_record_under_another_key_is_no_candidate() -> None:
    assert not leaving(record(DONE, key="00000000000000f2")).keys


def test_many_candidates_come_in_parts_that_are_bounded_and_lose_nothing() -> None:
    files = [record(replace(DONE, file_id=f"{n:016x}"), n) for n in range(10)]
    files += [record(replace(DONE, file_id=f"{n:016x}", stage="found"), 10 + n) for n in (2, 7)]
    left, offset = set[bytes](), 0
    while offset >= 0:
        part = leaving(*files[offset:], most=3)
        assert len(part.keys) <= 3
        left |= part.keys
        offset = part.next_offset
    assert left == {f"{n:016x}".encode() for n in (0, 1, 3, 4, 5, 6, 8, 9)}
