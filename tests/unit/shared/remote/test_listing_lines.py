"""Lines of listings: the usual dialects, and arbitrary bytes."""

from datetime import UTC, datetime
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.remote.listing import listed
from shared.remote.listing_lines import LAST_MTIME_S, Line, list_line, mlsd_line, rfc3659_time_s
from shared.remote.session import Entry, OddEntry

NOW_S = datetime(2026, 11, 27, 4, 0, tzinfo=UTC).timestamp()
MINUTE_S = int(datetime(2026, 11, 27, 3, 15, tzinfo=UTC).timestamp())
A_YEAR_AGO_S = int(datetime(2025, 11, 27, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("line", "mtime_s"),
    [
        (b"-rw-r--r--   1 owner group  1234 Nov 27 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 owner group  1234 Nov 27 03:15 A b.xml\r\n", MINUTE_S),
        (b"-rw-r--r--+  1 owner group  1234 Nov 27  2025 A b.xml", A_YEAR_AGO_S),
        (b"-rw-r--r--   1 owner 1234 Nov 27 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1234 Nov 27 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 27 Nov 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 27. Nov. 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 2026-11-27 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 2026-11-27 04:15:00.000000000 +0100 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 11-27 03:15 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 2025-11-27 A b.xml", A_YEAR_AGO_S),
        (b"-rw-r--r--   1 500 100 1234 Nov 27 03:15:00 2026 A b.xml", MINUTE_S),
        (b"-rw-r--r--   1 500 100 1234 11\xe6\x9c\x88 27 03:15 A b.xml", MINUTE_S),
        (b"- [RWCEAFMS] owner 1234 Nov 27 03:15 A b.xml", MINUTE_S),
        (b"11-27-26  03:15AM                 1234 A b.xml", MINUTE_S),
        (b"11/27/2026  03:15 AM             1,234 A b.xml", MINUTE_S),
        (b"2026-11-27  03:15                 1234 A b.xml", MINUTE_S),
        (b"27.11.2026  03:15                 1234 A b.xml", MINUTE_S),
    ],
)
def test_a_file_is_read_from_a_line_of_each_usual_form(line: bytes, mtime_s: int) -> None:
    assert list_line(line, NOW_S) == Line(b"A b.xml", "file", 1234, mtime_s)


@pytest.mark.parametrize(
    ("line", "name", "kind"),
    [
        (b"drwxr-xr-x 2 owner group 4096 Nov 27 03:15 done", b"done", "directory"),
        (b"11-27-26  03:15AM       <DIR>          done", b"done", "directory"),
        (b"lrwxrwxrwx 1 owner group 9 Nov 27 03:15 A.xml -> /etc/passwd", b"A.xml", "other"),
        (b"crw-rw-rw- 1 root root 1, 3 Nov 27 03:15 null", b"null", "other"),
        (b"11-27-26  03:15AM       <SYMLINK>      A.xml", b"A.xml", "other"),
        (b"no listing line", b"no listing line", "unreadable"),
    ],
)
def test_directories_and_special_files_are_told_apart(line: bytes, name: bytes, kind: str) -> None:
    found = list_line(line, NOW_S)
    assert found is not None
    assert (found.name, found.kind) == (name, kind)


@pytest.mark.parametrize("line", [b"", b"\r\n", b"total 12", b"drwxr-xr-x 2 owner group 4096 Nov 27 03:15 .."])
def test_lines_that_list_nothing_are_skipped(line: bytes) -> None:
    assert list_line(line, NOW_S) is None


@pytest.mark.parametrize(
    "date", [b"Feb 30 03:15", b"Nov 27 25:15", b"Nov 27 9999", b"9999-12-31 23:59", b"Nov 27 1969"]
)
def test_a_date_that_is_none_leaves_the_time_unknown(date: bytes) -> None:
    assert list_line(b"-rw-r--r-- 1 o g 1234 " + date + b" A.xml", NOW_S) == Line(b"A.xml", "file", 1234, None)


def test_a_time_without_a_year_is_of_the_last_twelve_months_by_the_servers_clock() -> None:
    new_year_s = datetime(2027, 1, 1, 0, 10, tzinfo=UTC).timestamp()
    line = b"-rw-r--r-- 1 o g 1 %s 23:50 A.xml"
    for day, year in ((b"Dec 31", 2026), (b"Jan  1", 2027), (b"Jan  3", 2026)):
        found = list_line(line % day, new_year_s)
        assert found is not None
        assert datetime.fromtimestamp(found.mtime_s or 0, UTC).year == year
    found = list_line(b"-rw-r--r-- 1 o g 1 Nov 27 04:15 A.xml", NOW_S, ZoneInfo("Europe/Rome"))
    assert found is not None
    assert found.mtime_s == MINUTE_S


@given(at_s=st.integers(0, LAST_MTIME_S - 1))
def test_every_time_of_rfc_3659_is_read_back(at_s: int) -> None:
    assert rfc3659_time_s(datetime.fromtimestamp(at_s, UTC).strftime("%Y%m%d%H%M%S").encode()) == at_s


words = st.sampled_from(
    (b"-rw-r--r--", b"drwxr-xr-x", b"1", b"owner", b"1234", b"-1", b"18446744073709551616", b"Nov", b"27", b"03:15",
     b"2026", b"99999", b"2026-11-27", b"31.02.2026", b"11-27-26", b"<DIR>", b"A.xml", b" ", b"type=file;", b"size=",
     b"size=5;", b"modify=20261127031501;", b"modify=;", b"=;=", b"\xff", b"total")
)  # fmt: skip
lines = st.binary(max_size=200) | st.lists(words, max_size=12).map(b" ".join)


@given(line=lines)
def test_no_line_is_too_odd_and_what_it_lists_is_an_entry_or_has_a_reason(line: bytes) -> None:
    for found in (mlsd_line(line), list_line(line, NOW_S)):
        if found is None:
            continue
        entry = listed(found)
        if isinstance(entry, Entry):
            assert 0 <= entry.size <= 1 << 50
            assert 0 <= entry.mtime_s < LAST_MTIME_S
        elif isinstance(entry, OddEntry):
            assert entry.reason
        else:
            assert found.kind == "directory"


def test_the_time_to_read_a_line_is_in_proportion_to_its_length() -> None:
    began_s = process_time()
    for line in (b"-rw-r--r-- " * 50_000, b"1 " * 500_000, b";" * 1_000_000, b"a=" * 500_000, b"-" * 1_000_000):
        mlsd_line(line)
        list_line(line, NOW_S)
    assert process_time() - began_s < 5.0  # a quadratic reader would take minutes
