"""Settler: moves a file that is through to done/ or error/ on its element, and says so.

Every step may be repeated: a command comes again when a fetcher died in the middle of it.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from time import time
from typing import Literal, Protocol

import orjson

from shared.messages import File, FileFound, FileStatus, Settle, path_bytes, path_text, status_of
from shared.remote.session import Entry, Gone

log = logging.getLogger(__name__)
PLACES: tuple[Literal["done"], Literal["error"]] = ("done", "error")


class Directory(Protocol):
    """What moving needs of a session. Blocks; raises Gone, Unreachable."""

    def look(self, path: bytes) -> Entry | None: ...
    def move(self, path: bytes, to: bytes) -> None: ...
    def make_directory(self, directory: bytes) -> None: ...
    def write(self, path: bytes, content: bytes) -> None: ...


def moved_path(path: bytes, place: str, file_id: str, *, again: bool = False) -> bytes:
    """Where a file goes: into done/ or error/ beside it; `again` when another file has that name there.

    >>> moved_path(b"/pm/A1.xml", "done", "0123456789abcdef")
    b'/pm/done/A1.xml'
    """
    directory, _, name = path.rpartition(b"/")
    mark = b"." + file_id.encode() if again else b""
    return b"%s/%s/%s%s" % (directory, place.encode(), name, mark)


@dataclass(frozen=True)
class Settler:
    """Raises Unreachable when the element does not answer: the command must come again."""

    session: Callable[[File], AbstractContextManager[Directory]]

    def settle(self, command: Settle) -> FileStatus:
        """The file's last status: done or error."""
        status = FileStatus.of(command.status, b"")
        with self.session(status) as element:
            self._move(element, path_bytes(status.path), command, status)
            moved = self._found(element, status, command.to) is not None
        log.log(
            logging.INFO if moved else logging.WARNING,
            "file settled" if moved else "file settled, though it is not on the element any more",
            extra={"file": status.file_id, "element": status.element, "path": status.path, "stage": command.to},
        )
        return replace(status, stage=command.to, at_s=time())

    def settled_as(self, file: FileFound) -> FileStatus | None:
        """The status of a file that is not where it was announced, if an earlier command moved it."""
        with self.session(file) as element:
            for place in PLACES:
                if self._found(element, file, place) is not None:
                    return status_of(file, place, time(), "was settled before")
        return None

    @staticmethod
    def _move(element: Directory, path: bytes, command: Settle, status: FileStatus) -> None:
        if not _same(element.look(path), status):
            return  # moved before, or a newer file has its name
        to = moved_path(path, command.to, status.file_id)
        element.make_directory(to.rpartition(b"/")[0])
        if element.look(to) is not None:
            to = moved_path(path, command.to, status.file_id, again=True)
        if command.to == "error":
            element.write(to + b".reason.json", orjson.dumps(_reason(status), option=orjson.OPT_INDENT_2))
        try:
            element.move(path, to)
        except Gone:
            log.info("another fetcher moved it", extra={"file": status.file_id, "path": path_text(path)})

    @staticmethod
    def _found(element: Directory, file: File, place: str) -> Entry | None:
        for again in (False, True):
            entry = element.look(moved_path(path_bytes(file.path), place, file.file_id, again=again))
            if _same(entry, file):
                return entry
        return None


def _same(entry: Entry | None, file: File) -> bool:
    return entry is not None and (entry.size, entry.mtime_s) == (file.size, file.mtime_s)


def _reason(status: FileStatus) -> dict[str, object]:
    return {"reason": status.reason, "file": status.file_id, "system": status.system, "path": status.path}
