"""SFTP servers that leave attributes out: each file is found, read whole and recognized, or left with a reason."""

from pathlib import Path
from typing import Any

import pytest
from asyncssh import SFTPAttrs

from shared.remote.listing import NO_SIZE, NO_TYPE, NOT_REGULAR, ODD_SIZE, ODD_TIME
from shared.remote.session import Entry, OddEntry
from shared.remote.sftp import connect_sftp
from tests.fakes.odd_sftp import CONTENT, NAME, odd_sftp

SIZE, TIME_S = len(CONTENT), 1_700_000_000
WHOLE: dict[str, Any] = {"size": SIZE, "permissions": 0o100644, "atime": TIME_S, "mtime": TIME_S}


def attributes(**changed: Any) -> SFTPAttrs:
    """Complete attributes without those that are None."""
    return SFTPAttrs(**{name: value for name, value in {**WHOLE, **changed}.items() if value is not None})


NO_TIMES: dict[str, Any] = {"atime": None, "mtime": None}
SERVED = {
    "complete": (attributes(), None, SIZE, TIME_S),
    "no type bits": (attributes(permissions=0o644), None, SIZE, TIME_S),
    "no permissions": (attributes(permissions=None), None, SIZE, TIME_S),
    "no size": (attributes(size=None), None, SIZE, TIME_S),
    "size 0": (attributes(size=0), None, SIZE, TIME_S),
    "size 2^64-1": (attributes(size=2**64 - 1), None, SIZE, TIME_S),
    "no times": (attributes(**NO_TIMES), None, SIZE, 0),
    "nothing": (SFTPAttrs(), None, SIZE, 0),
    "nothing, but LSTAT": (SFTPAttrs(), attributes(), SIZE, TIME_S),
    "too small": (attributes(size=2000), None, 2000, TIME_S),
    "too large": (attributes(size=5000), None, 5000, TIME_S),
}


@pytest.mark.parametrize(("listed", "looked", "size", "mtime_s"), SERVED.values(), ids=SERVED)
def test_a_file_with_odd_attributes_is_found_read_whole_and_recognized(
    listed: SFTPAttrs, looked: SFTPAttrs | None, size: int, mtime_s: int, tmp_path: Path
) -> None:
    with odd_sftp(tmp_path, listed, looked) as (endpoint, settings):
        session = connect_sftp(endpoint, settings)
        assert list(session.tree(b"/pm", 1)) == [(b"/pm", Entry(NAME, size, mtime_s))]
        assert session.read(b"/pm/" + NAME, size) == CONTENT
        assert session.look(b"/pm/" + NAME) == Entry(b"/pm/" + NAME, size, mtime_s)
        session.close()


NAMED = {
    "a link": (attributes(permissions=0o120777), NOT_REGULAR),
    "a socket": (attributes(permissions=0o140777), NOT_REGULAR),
    "no type": (attributes(permissions=None), NO_TYPE),
    "no size": (attributes(size=None), NO_SIZE),
    "a huge size": (attributes(size=2**62), ODD_SIZE),
    "a time after 2100": (attributes(mtime=2**32 - 1), ODD_TIME),
}


@pytest.mark.parametrize(("listed", "reason"), NAMED.values(), ids=NAMED)
def test_what_cannot_be_served_is_named(listed: SFTPAttrs, reason: str, tmp_path: Path) -> None:
    with odd_sftp(tmp_path, listed, long=b"") as (endpoint, settings):
        session = connect_sftp(endpoint, settings)
        assert list(session.tree(b"/pm", 1)) == [(b"/pm", OddEntry(NAME, reason))]
        assert session.look(b"/pm/" + NAME) is None
        session.close()
