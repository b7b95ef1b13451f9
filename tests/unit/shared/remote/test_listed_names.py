"""A name that a server lists denotes an entry of the listed directory, or is left with a reason: it never is a path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.remote.listing import ODD_NAME, entry_of, listed
from shared.remote.listing_lines import Line
from shared.remote.session import Entry, OddEntry, child

PATHS = [b"", b".", b"..", b"../../etc/passwd", b"/etc/passwd", b"a/b", b"a/", b"a\0b", b"..\0"]


@pytest.mark.parametrize("name", PATHS)
def test_a_name_that_is_a_path_is_left_with_a_reason(name: bytes) -> None:
    assert entry_of(name, 1, 1) == OddEntry(name, ODD_NAME)
    for kind in ("file", "directory"):
        assert listed(Line(name, kind, 1, 1)) == OddEntry(name, ODD_NAME)


@given(name=st.binary(max_size=5000) | st.sampled_from(PATHS))
def test_no_name_leads_out_of_the_directory(name: bytes) -> None:
    entry = entry_of(name, 1, 1)
    if isinstance(entry, Entry):
        path = child(b"/pm/files", name)
        assert path.count(b"/") == 3
        assert path.rpartition(b"/")[2] not in {b"", b".", b".."}
