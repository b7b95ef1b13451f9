"""Selects the files of a listing that are taken, and those that are announced first. Pure."""

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from typing import Generic, TypeVar

from services.scanner.file_name import LONGEST_FILE_NAME
from shared.remote.session import Entry
from shared.settings import BadSettings, System

FileT = TypeVar("FileT")
DIGITS = {"Y": r"\d{4}", "j": r"\d{3}"} | dict.fromkeys("ymdHMSUW", r"\d{2}")
"""Directive of strftime -> regular expression of what it writes."""


@dataclass(frozen=True)
class FileRules:
    """The rules of a system that decide which files are left on the elements, each for a named reason.

    Raises:
        BadSettings: the pattern is not a valid regular expression.
    """

    system: System
    temporary_suffixes: tuple[str, ...]

    def __post_init__(self) -> None:
        _ = self._matches

    def reason_left(self, entry: Entry, now_s: float) -> str:
        """Returns why a file is left on the element for now, or an empty string if it is taken."""
        if len(entry.name) > LONGEST_FILE_NAME:
            return "name too long"
        age_s, system = now_s - entry.mtime_s, self.system
        reasons = {
            "temporary name": entry.name.startswith(b".") or entry.name.endswith(self._unfinished),
            "marker": self.marked(entry.name) is not None,
            "name does not match": not self._matches(entry.name),
            "too small": entry.size < system.min_size,
            "too large": 0 < system.max_size < entry.size,
            "too young": 0 < system.min_age_s > age_s,
            "too old": 0 < system.max_age_s < age_s,
        }
        return next((reason for reason, applies in reasons.items() if applies), "")

    def is_finished(self, directory: bytes) -> bool:
        """Returns True if finished files are moved to this directory although its name begins with a date.

        A scan does not enter one that begins with a fixed name, such as done/%Y%m%d.
        """
        return any(pattern.fullmatch(directory) for pattern in self._finished)

    def marked(self, marker: bytes) -> bytes | None:
        """Returns the name of the file that a marker file marks as complete, or None if it is not a marker file."""
        suffix = self.system.marker_suffix.encode()
        return marker.removesuffix(suffix) if suffix and marker.endswith(suffix) else None

    @cached_property
    def _unfinished(self) -> tuple[bytes, ...]:
        return tuple(suffix.encode() for suffix in self.temporary_suffixes)

    @cached_property
    def _finished(self) -> list[re.Pattern[bytes]]:
        relative = [
            where.strip("/")
            for where in (self.system.done_directory, self.system.error_directory)
            if "%" in where.partition("/")[0]
        ]
        return [re.compile(b".*/" + _pattern_of_dated(where)) for where in relative]

    @cached_property
    def _matches(self) -> Callable[[bytes], object]:
        pattern = self.system.pattern
        try:
            text = pattern.removeprefix("regex:") if pattern.startswith("regex:") else translate(pattern)
            return re.compile(text.encode()).fullmatch
        except re.error as error:
            raise BadSettings(f"{self.system.name}: pattern {pattern!r}: {error}") from error


def _pattern_of_dated(directory: str) -> bytes:
    """Returns a regular expression for the names that a directory with dates may get."""
    parts = re.split("%(.)", directory)
    fixed, directives = parts[::2], [DIGITS.get(directive, "[^/]+") for directive in parts[1::2]]
    return "".join(
        re.escape(text) + directive for text, directive in zip(fixed, [*directives, ""], strict=True)
    ).encode()


@dataclass
class NewestFirst(Generic[FileT]):
    """Selects a limited number of files: the newest cycle first, and a share of the oldest so that a backlog shrinks.

    Keeps only files that may be selected, however many are offered.
    """

    limit: int
    backlog_share: float
    """Share of the limit that is reserved for the oldest files."""
    cycle_of: Callable[[FileT], int]
    """Returns a number that is higher for newer files."""
    offered: int = 0
    newest: list[tuple[int, int, FileT]] = field(default_factory=list)
    oldest: list[tuple[int, int, FileT]] = field(default_factory=list)

    @property
    def for_oldest(self) -> int:
        return int(max(self.limit, 0) * self.backlog_share)

    def offer(self, file: FileT) -> None:
        """Adds a candidate."""
        self.offered += 1
        cycle = self.cycle_of(file)
        _keep(self.newest, (cycle, self.offered, file), max(self.limit, 0))
        _keep(self.oldest, (-cycle, -self.offered, file), self.for_oldest)

    def selected(self) -> list[FileT]:
        """Returns the selected files: the newest, then the reserved share of the oldest."""
        newest = [file for *_, file in sorted(self.newest, key=lambda kept: kept[:2], reverse=True)]
        if self.offered <= self.limit:
            return newest
        oldest = [file for *_, file in sorted(self.oldest, key=lambda kept: kept[:2])]
        return newest[: len(newest) - len(oldest)] + oldest


def _keep(heap: list[tuple[int, int, FileT]], kept: tuple[int, int, FileT], most: int) -> None:
    """Keeps the `most` highest entries. No two have the same number, so files themselves are never compared."""
    if len(heap) < most:
        heapq.heappush(heap, kept)
    elif most and kept[:2] > heap[0][:2]:
        heapq.heapreplace(heap, kept)
