from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.rules import FileRules, NewestFirst
from shared.remote.session import Entry
from shared.settings import BadSettings, System

A = Entry(b"A.xml", 10, 100)


def rules(**settings: Any) -> FileRules:
    return FileRules(System(name="4ga", **settings), (".part",))


@pytest.mark.parametrize(
    ("entry", "settings", "reason"),
    [
        (Entry(b".A.xml", 1, 1), {}, "temporary name"),
        (Entry(b"A.xml.part", 1, 1), {}, "temporary name"),
        (Entry(b"A.xml", 0, 1), {}, "too small"),
        (Entry(b"A.xml", 11, 1), {"max_size": 10}, "too large"),
        (Entry(b"A.xml", 1, 995), {"min_age_s": 10.0}, "too young"),
        (Entry(b"A.xml", 1, 1), {"max_age_s": 10.0}, "too old"),
        (Entry(b"B.xml", 1, 1), {"pattern": "A*.xml"}, "name does not match"),
        (Entry(b"B.xml", 1, 1), {"pattern": r"regex:A\d+\.xml"}, "name does not match"),
    ],
)
def test_a_file_that_is_left_has_a_reason(entry: Entry, settings: dict[str, Any], reason: str) -> None:
    assert rules(**settings).reason_left(entry, now_s=1000.0) == reason


def test_all_other_files_are_taken_whatever_bytes_their_names_contain() -> None:
    for entry in (A, Entry(b"\xff\n.xml", 1, 1)):
        assert rules(pattern="*.xml").reason_left(entry, now_s=1000.0) == ""
    assert rules(pattern=r"regex:A\.xml|.*").reason_left(A, now_s=1000.0) == ""


def test_a_marker_file_names_the_file_that_is_complete() -> None:
    marking = rules(marker_suffix=".ok", pattern="*.xml")
    assert marking.marked(b"A.xml.ok") == b"A.xml"
    assert marking.marked(b"A.xml") is None
    assert marking.reason_left(Entry(b"A.xml.ok", 0, 1), now_s=1000.0) == "marker"
    assert rules().marked(b"A.xml.ok") is None


def test_an_invalid_pattern_is_rejected() -> None:
    with pytest.raises(BadSettings, match="pattern"):
        rules(pattern="regex:(")


@given(files=st.lists(st.integers(0, 1000)), limit=st.integers(-5, 50), share=st.floats(0, 1))
def test_the_newest_come_first_the_oldest_have_their_share_and_the_limit_is_never_exceeded(
    files: list[int], limit: int, share: float
) -> None:
    first = NewestFirst[int](limit, share, cycle_of=lambda file: file)
    for file in files:
        first.offer(file)
    assert len(first.newest) + len(first.oldest) <= 2 * max(limit, 0)
    chosen = first.selected()
    assert len(chosen) == min(len(files), max(limit, 0))
    oldest = int(max(limit, 0) * share) if len(files) > limit else 0
    expected = sorted(files, reverse=True)
    newest = len(chosen) - oldest
    newest_first = sorted(chosen, reverse=True)
    assert newest_first == expected[:newest] + expected[len(expected) - oldest :]


@pytest.mark.parametrize(
    ("done", "directory", "is_finished"),
    [
        ("%Y/%m/%d/done", b"/pm/2026/11/27/done", True),
        ("%Y/%m/%d/done", b"/pm/2026/11/27", False),
        ("%Y/%m/%d/done", b"/pm/site/2026/11/27/done", True),
        ("%Y%m%d.done", b"/pm/20261127.done", True),
        ("%Y%m%d.done", b"/pm/20261127xdone", False),
        ("%j-%b/done", b"/pm/331-Nov/done", True),
        ("%b%Y", b"/pm/Nov2026", True),
        ("%b%Y", b"/pm/2026", False),
        ("%b%Y", b"/pm/Nov/2026", False),
        ("%Y", b"/pm/Nov", False),
        ("done/%Y%m%d", b"/pm/done/20261127", False),  # the scan does not enter done
        ("done", b"/pm/done", False),
    ],
)
def test_a_directory_of_finished_files_is_known_though_its_name_begins_with_a_date(
    done: str, directory: bytes, is_finished: bool
) -> None:
    assert FileRules(System(name="4ga", done_directory=done), ()).is_finished(directory) is is_finished
