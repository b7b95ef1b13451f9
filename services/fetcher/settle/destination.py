"""Where a file goes when it is through, by its system's settings. Pure."""

from datetime import datetime, tzinfo
from typing import Literal

from shared.messages import File, path_bytes
from shared.settings import System

End = Literal["done", "error"]


def action(system: System, end: End) -> str:
    """What is done with the file: move, delete or leave. One that cannot be read is always moved."""
    return system.on_done if end == "done" else "move"


def destination(file: File, end: End, system: System, zone: tzinfo, *, again: bool = False) -> bytes:
    """Its path in done/ or error/, beside it or where an absolute directory says.

    A date in it is that of the file's period (or of its writing, where its name tells none): the place depends on the
    file alone, so that a move that is repeated is recognised.

    Args:
        file: any message on it.
        end: where it goes.
        system: its system.
        zone: the element's.
        again: another file has that name there: this one gets a mark of its identity.
    """
    path = path_bytes(file.path)
    beside, _, name = path.rpartition(b"/")
    at = datetime.fromtimestamp(file.end_s or file.mtime_s, zone)
    directory = at.strftime(system.done_directory if end == "done" else system.error_directory).rstrip("/").encode()
    mark = b"." + file.file_id.encode() if again else b""
    where = directory if directory.startswith(b"/") else b"%s/%s" % (beside, directory)
    return b"%s/%s%s" % (where, name, mark)


def parents(directory: bytes, above: bytes) -> list[bytes]:
    """The directories to be made, the uppermost first; `above` is there already, as the file lies in it.

    >>> parents(b"/pm/done/20261125", above=b"/pm")
    [b'/pm/done', b'/pm/done/20261125']
    """
    found = []
    while directory not in {above, b"", b"/"}:
        found.append(directory)
        directory = directory.rpartition(b"/")[0]
    return found[::-1]
