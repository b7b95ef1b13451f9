"""Settler: moves a file that is through to done/ or error/ on its element (or deletes it), and says so.

Every step may be repeated: a command comes again when a fetcher died in the middle of it.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import tzinfo
from time import time
from typing import Protocol

import orjson

from services.fetcher import metrics
from services.fetcher.settle.destination import End, action, destination, parents
from shared.messages import File, FileFound, FileStatus, Settle, path_bytes, path_text, status_of
from shared.remote.session import Entry, Gone
from shared.settings import System

log = logging.getLogger(__name__)
ENDS: tuple[End, ...] = ("done", "error")


class Directory(Protocol):
    """What moving needs of a session. Blocks; raises Gone, Unreachable."""

    def look(self, path: bytes) -> Entry | None: ...
    def move(self, path: bytes, to: bytes) -> None: ...
    def delete(self, path: bytes) -> None: ...
    def make_directory(self, directory: bytes) -> None: ...
    def write(self, path: bytes, content: bytes) -> None: ...


@dataclass(frozen=True)
class Settler:
    """Raises Unreachable when the element does not answer, Denied when it refuses: the command must come again."""

    session: Callable[[File], AbstractContextManager[Directory]]
    system: Callable[[File], System]
    zone: Callable[[File], tzinfo]
    """Of the element."""

    def settle(self, command: Settle) -> FileStatus:
        """The file's last status: done or error."""
        status = command.status
        what = "leave" if status.lies_at else action(self.system(status), command.to)
        if what != "leave":
            with self.session(status) as element:
                what = self._away(element, status, command.to, what)
        metrics.MOVES.labels(status.system, what).inc()
        log.log(
            logging.WARNING if what == "gone" else logging.INFO,
            "file settled, though it is not on the element any more" if what == "gone" else "file settled",
            extra={
                "file": status.file_id,
                "system": status.system,
                "element": status.element,
                "path": status.path,
                "stage": command.to,
                "action": what,
            },
        )
        return replace(status, stage=command.to, at_s=time())

    def settled_as(self, file: FileFound) -> FileStatus | None:
        """The status of a file that is not where it was announced, if an earlier command moved it."""
        with self.session(file) as element:
            for end in ENDS:
                if self._found(element, file, end):
                    return status_of(file, end, time(), "was settled before")
        return None

    def bring_back(self, file: File) -> bool:
        """Moves a file that was settled to where it was found; whether it lies there then."""
        path = path_bytes(file.path)
        with self.session(file) as element:
            for settled in (self._destination(file, end, again=again) for end in ENDS for again in (False, True)):
                if _same(element.look(settled), file) and element.look(path) is None:
                    element.move(settled, path)
            return _same(element.look(path), file)

    def _away(self, element: Directory, status: FileStatus, end: End, what: str) -> str:
        """Move or delete it; what was done: `gone` when it was nowhere."""
        path = path_bytes(status.path)
        if not _same(element.look(path), status):  # moved before, or a newer file has its name
            return "move" if self._found(element, status, end) else "gone"
        try:
            if what == "delete":
                element.delete(path)
            else:
                self._move(element, path, status, end)
        except Gone:
            log.info("another fetcher was quicker", extra={"file": status.file_id, "path": path_text(path)})
        return what

    def _move(self, element: Directory, path: bytes, status: FileStatus, end: End) -> None:
        to = self._destination(status, end)
        for directory in parents(to.rpartition(b"/")[0], above=path.rpartition(b"/")[0]):
            element.make_directory(directory)
        if self.system(status).on_conflict == "keep-both" and element.look(to) is not None:
            to = self._destination(status, end, again=True)
        if end == "error":
            element.write(to + b".reason.json", orjson.dumps(_reason(status), option=orjson.OPT_INDENT_2))
        element.move(path, to)

    def _found(self, element: Directory, file: File, end: End) -> bool:
        paths = (self._destination(file, end, again=again) for again in (False, True))
        return any(_same(element.look(path), file) for path in paths)

    def _destination(self, file: File, end: End, *, again: bool = False) -> bytes:
        return destination(file, end, self.system(file), self.zone(file), again=again)


def _same(entry: Entry | None, file: File) -> bool:
    return entry is not None and (entry.size, entry.mtime_s) == (file.size, file.mtime_s)


def _reason(status: FileStatus) -> dict[str, object]:
    return {"reason": status.reason, "file": status.file_id, "system": status.system, "path": status.path}
