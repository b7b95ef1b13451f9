"""Settler moves complete files to done/ or error/ on their element, or deletes them, and returns their status.

Every step may be repeated: a command comes again if a fetcher died while it carried it out.
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
from shared.remote.session import Denied, Entry, Gone
from shared.settings import System
from shared.stages import SETTLED_EARLIER

log = logging.getLogger(__name__)
_ENDS: tuple[End, ...] = ("done", "error")


class Directory(Protocol):
    """The part of a session that the settler needs. Blocks; raises Gone and Unreachable."""

    def look(self, path: bytes) -> Entry | None: ...
    def move(self, path: bytes, to: bytes) -> None: ...
    def delete(self, path: bytes) -> None: ...
    def make_directory(self, directory: bytes) -> None: ...
    def write(self, path: bytes, content: bytes) -> None: ...


@dataclass(frozen=True)
class Settler:
    """Settles files. Raises Unreachable if the element does not answer and Denied if it refuses; both are retried."""

    session: Callable[[File], AbstractContextManager[Directory]]
    system: Callable[[File], System]
    zone: Callable[[File], tzinfo]
    """Returns the element's time zone."""

    def settle(self, command: Settle) -> FileStatus:
        """Carries out a command; returns the file's last status, done or error."""
        status = command.status
        what = "leave" if status.lies_at else action(self.system(status), command.to)
        if what != "leave":
            with self.session(status) as element:
                what = self._move_or_delete(element, status, command.to, what)
        metrics.MOVES.labels(status.system, what).inc()
        log.log(
            logging.WARNING if what == "gone" else logging.INFO,
            "file settled, but not found on the element" if what == "gone" else "file settled",
            extra={
                "file": status.file_id,
                "system": status.system,
                "element": status.element,
                "path": status.path,
                "stage": command.to,
                "action": what,
            },
        )
        return replace(status, stage=command.to, at_s=time(), moves_refused=0, not_moved="")

    def settled_as(self, file: FileFound) -> FileStatus | None:
        """Returns the status, without figures, of a file that an earlier command moved away; None if it is not there.

        Only for a file about which the ledger knows nothing (`history`).
        """
        with self.session(file) as element:
            for end in _ENDS:
                if self._is_settled(element, file, end):
                    return status_of(file, end, time(), SETTLED_EARLIER)
        return None

    def bring_back(self, file: File) -> bool:
        """Moves a settled file back to where it was found; returns False if it is not there afterwards."""
        path = path_bytes(file.path)
        with self.session(file) as element:
            for settled in (self._destination(file, end, again=again) for end in _ENDS for again in (False, True)):
                if _same(element.look(settled), file) and element.look(path) is None:
                    element.move(settled, path)
            return _same(element.look(path), file)

    def _move_or_delete(self, element: Directory, status: FileStatus, end: End, what: str) -> str:
        """Moves or deletes a file; returns what was done, or `gone` if it was not found."""
        path = path_bytes(status.path)
        if not _same(element.look(path), status):  # it was moved earlier, or a newer file has its name
            return "move" if self._is_settled(element, status, end) else "gone"
        try:
            if what == "delete":
                element.delete(path)
            else:
                self._move(element, path, status, end)
        except Gone as error:
            if _same(element.look(path), status):  # the directory to move it to is missing, or it was refused
                raise Denied(f"{path_text(path)} is still there: {error}") from error
            log.info("file settled by another fetcher", extra={"file": status.file_id, "path": path_text(path)})
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

    def _is_settled(self, element: Directory, file: File, end: End) -> bool:
        paths = (self._destination(file, end, again=again) for again in (False, True))
        return any(_same(element.look(path), file) for path in paths)

    def _destination(self, file: File, end: End, *, again: bool = False) -> bytes:
        return destination(file, end, self.system(file), self.zone(file), again=again)


def _same(entry: Entry | None, file: File) -> bool:
    return entry is not None and (entry.size, entry.mtime_s) == (file.size, file.mtime_s)


def _reason(status: FileStatus) -> dict[str, object]:
    return {"reason": status.reason, "file": status.file_id, "system": status.system, "path": status.path}
