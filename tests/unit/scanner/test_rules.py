from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.rules import Rules, first_ones, settled
from shared.remote.session import Entry
from shared.settings import BadSettings, System

A, B = Entry(b"A.xml", 10, 100), Entry(b"B.xml", 20, 100)


def rules(**settings: Any) -> Rules:
    return Rules(System(name="4ga", **settings), (".part",))


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
    assert rules(**settings).taken([entry], now_s=1000.0) == ([], Counter({reason: 1}))


def test_all_others_are_taken_whatever_bytes_their_names_are() -> None:
    listing = [A, Entry(b"\xff\n.xml", 1, 1)]
    assert rules(pattern="*.xml").taken(listing, now_s=1000.0) == (listing, Counter())
    assert rules(pattern=r"regex:A\.xml|.*").taken([A], now_s=1000.0) == ([A], Counter())


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(BadSettings, match="pattern"):
        rules(pattern="regex:(")


def test_a_file_is_settled_when_two_looks_find_it_alike() -> None:
    grown, touched = Entry(b"A.xml", 11, 100), Entry(b"B.xml", 20, 101)
    assert settled([A, B], [A, touched]) == [A]
    assert settled([A, B], [grown, B]) == [B]
    assert settled([], [A]) == []


@given(files=st.lists(st.integers(0, 1000)), room=st.integers(-5, 50), share=st.floats(0, 1))
def test_the_newest_come_first_the_oldest_have_their_share_and_there_is_never_more_than_room(
    files: list[int], room: int, share: float
) -> None:
    chosen = first_ones(files, lambda file: file, room, share)
    assert len(chosen) == min(len(files), max(room, 0))
    oldest = int(max(room, 0) * share) if len(files) > room else 0
    expected = sorted(files, reverse=True)
    newest = len(chosen) - oldest
    assert list(chosen) == expected[:newest] + expected[len(expected) - oldest :]
