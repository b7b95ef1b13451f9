"""Decides what becomes of a complete file on its element by the settings of its system. Pure."""

from datetime import datetime, tzinfo
from typing import Literal

from shared.messages import File, path_bytes
from shared.settings import System

End = Literal["done", "error"]
"""The directory to which a file is settled."""


def action(system: System, end: End) -> str:
    """Returns what to do with the file: move, delete or leave. A file that cannot be read is always moved."""
    return system.on_done if end == "done" else "move"


def destination(file: File, end: End, system: System, zone: tzinfo, *, again: bool = False) -> bytes:
    """Returns the file's path in done/ or error/: beside the file, or in an absolute directory.

    A date in the path is that of the file's period, or of its last change if its name has no period. The path depends
    only on the file, so that a repeated move is recognised.

    Args:
        file: any message about the file.
        end: the directory to which it is settled.
        system: its system.
        zone: the element's time zone.
        again: True if another file has this name there; then the file's identity is appended.
    """
    path = path_bytes(file.path)
    beside, _, name = path.rpartition(b"/")
    at = datetime.fromtimestamp(file.end_s or file.mtime_s, zone)
    directory = at.strftime(system.done_directory if end == "done" else system.error_directory).rstrip("/").encode()
    mark = b"." + file.file_id.encode() if again else b""
    where = directory if directory.startswith(b"/") else b"%s/%s" % (beside, directory)
    return b"%s/%s%s" % (where, name, mark)


def parents(directory: bytes, above: bytes) -> list[bytes]:
    """Returns the directories to create, the uppermost first; `above` exists already, as it holds the file.

    >>> parents(b"/pm/done/20261125", above=b"/pm")
    [b'/pm/done', b'/pm/done/20261125']
    """
    found = []
    while directory not in {above, b"", b"/"}:
        found.append(directory)
        directory = directory.rpartition(b"/")[0]
    return found[::-1]
