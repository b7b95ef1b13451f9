"""KnownFiles: what a scanner remembers of each file in the ledger; much of those under way, little of the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from threading import Lock

from services.scanner.file_progress import FileProgress
from services.scanner.finished_files import FinishedFiles
from shared.messages import FileStatus
from shared.topics import DAY_MS, FILES_STATUS

KEPT_DAYS = FILES_STATUS.retention_ms // DAY_MS
"""A file whose status is older has left the ledger, and is forgotten here too."""

DAY_SECONDS = DAY_MS // 1000


@dataclass(frozen=True, slots=True)
class KnownFile:
    """The part of a file's newest status that scanning needs."""

    system: str
    endpoint: str
    stage: str
    at_s: float
    attempt: int = 1
    found_s: float = 0.0


FINISHED = KnownFile(system="", endpoint="", stage="finished", at_s=0.0)
"""Stands for every file that is on record and needs nothing: it is not announced, and takes no room in flight."""


def day_of(time_s: float) -> int:
    """Returns the number of whole days since 1970."""
    return int(time_s // DAY_SECONDS)


def is_finished(status: FileStatus | FileProgress) -> bool:
    """Returns whether a scan has nothing more to do with a file unless a later status says so.

    It is read, or in error/, or waits for its move to error/, or was refused to be moved.
    """
    stage = status.stage
    return stage in {"done", "error", "failed"} or (stage == "parsed" and status.moves_refused > 0)


def _day_that_counts(day: int, today: int) -> int:
    if today - KEPT_DAYS <= day <= today:
        return day
    return today if day > today else today - KEPT_DAYS


class KnownFiles(Mapping[str, KnownFile]):
    """All files of the ledger by file id. Any thread may use it.

    Those under way, postponed or lost are as the ledger has them; all others are FINISHED.
    """

    def __init__(self) -> None:
        self.under_way: dict[str, KnownFile] = {}
        self.finished = FinishedFiles()
        self.lock = Lock()

    def __getitem__(self, file_id: str) -> KnownFile:
        with self.lock:
            known = self.under_way.get(file_id)
            if known is None and int(file_id, 16) in self.finished:
                known = FINISHED
        if known is None:
            raise KeyError(file_id)
        return known

    def __len__(self) -> int:
        with self.lock:
            return len(self.under_way) + len(self.finished)

    def __iter__(self) -> Iterator[str]:
        """Yields the ids of all files; the mapping must not change meanwhile."""
        yield from self.under_way
        yield from (f"{number:016x}" for number in self.finished)

    def record(self, status: FileStatus | FileProgress, today: int) -> None:
        """Takes the newest status of a file.

        Args:
            status: the status.
            today: days since 1970. The status counts as of this day if it is later, and is not forgotten today if it
                is very old: the clocks of services may be wrong.
        """
        file_id, number = status.file_id, int(status.file_id, 16)
        with self.lock:
            if is_finished(status):
                self.under_way.pop(file_id, None)
                self.finished.add(number, _day_that_counts(day_of(status.at_s), today))
                return
            if file_id not in self.under_way:
                self.finished.discard(number)
            names = intern(status.system), intern(status.endpoint), intern(status.stage)
            self.under_way[file_id] = KnownFile(*names, status.at_s, status.attempt, status.found_s)

    def remove(self, file_id: str) -> None:
        """Forgets a file; does nothing if it is not known."""
        with self.lock:
            if self.under_way.pop(file_id, None) is None:
                self.finished.discard(int(file_id, 16))

    def forget_before(self, day: int) -> list[str]:
        """Forgets the files whose status is of an earlier day; returns the ids of those that were not finished."""
        with self.lock:
            self.finished.forget_before(day)
            forgotten = [file_id for file_id, known in self.under_way.items() if day_of(known.at_s) < day]
            for file_id in forgotten:
                del self.under_way[file_id]
        return forgotten
