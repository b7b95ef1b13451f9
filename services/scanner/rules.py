"""Which files of a listing are taken, and which of those first. Pure."""

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from typing import Generic, TypeVar

from shared.remote.session import Entry
from shared.settings import BadSettings, System

T = TypeVar("T")


@dataclass(frozen=True)
class Rules:
    """A system's rules; a file that is left has a reason.

    Raises:
        BadSettings: the pattern is no regular expression.
    """

    system: System
    temporary_suffixes: tuple[str, ...]

    def __post_init__(self) -> None:
        _ = self._matches

    def left(self, entry: Entry, now_s: float) -> str:
        """Why a file is not taken now, or nothing."""
        age_s, of = now_s - entry.mtime_s, self.system
        reasons = {
            "temporary name": entry.name.startswith(b".") or entry.name.endswith(self._unfinished),
            "marker": self.marked(entry.name) is not None,
            "name does not match": not self._matches(entry.name),
            "too small": entry.size < of.min_size,
            "too large": 0 < of.max_size < entry.size,
            "too young": 0 < of.min_age_s > age_s,
            "too old": 0 < of.max_age_s < age_s,
        }
        return next((reason for reason, applies in reasons.items() if applies), "")

    def marked(self, marker: bytes) -> bytes | None:
        """The name of the file that a marker file says is finished; None when it is no marker."""
        suffix = self.system.marker_suffix.encode()
        return marker.removesuffix(suffix) if suffix and marker.endswith(suffix) else None

    @cached_property
    def _unfinished(self) -> tuple[bytes, ...]:
        return tuple(suffix.encode() for suffix in self.temporary_suffixes)

    @cached_property
    def _matches(self) -> Callable[[bytes], object]:
        pattern = self.system.pattern
        try:
            text = pattern.removeprefix("regex:") if pattern.startswith("regex:") else translate(pattern)
            return re.compile(text.encode()).fullmatch
        except re.error as error:
            raise BadSettings(f"{self.system.name}: pattern {pattern!r}: {error}") from error


@dataclass
class FirstOnes(Generic[T]):
    """As many files as there is room for: the newest cycle first, with a share for the oldest: no backlog starves.

    However many are offered, only those that may be chosen are kept.
    """

    room: int
    backlog_share: float
    """Of the room, for the oldest files."""
    cycle_of: Callable[[T], int]
    """Higher is newer."""
    offered: int = 0
    newest: list[tuple[int, int, T]] = field(default_factory=list)
    oldest: list[tuple[int, int, T]] = field(default_factory=list)

    @property
    def for_oldest(self) -> int:
        return int(max(self.room, 0) * self.backlog_share)

    def offer(self, file: T) -> None:
        """Consider a file."""
        self.offered += 1
        cycle = self.cycle_of(file)
        _keep(self.newest, (cycle, self.offered, file), max(self.room, 0))
        _keep(self.oldest, (-cycle, -self.offered, file), self.for_oldest)

    def chosen(self) -> list[T]:
        """The newest first."""
        newest = [file for *_, file in sorted(self.newest, key=lambda kept: kept[:2], reverse=True)]
        if self.offered <= self.room:
            return newest
        oldest = [file for *_, file in sorted(self.oldest, key=lambda kept: kept[:2])]
        return newest[: len(newest) - len(oldest)] + oldest


def _keep(heap: list[tuple[int, int, T]], kept: tuple[int, int, T], most: int) -> None:
    """The `most` highest; no two have the same number, so files are never compared."""
    if len(heap) < most:
        heapq.heappush(heap, kept)
    elif most and kept[:2] > heap[0][:2]:
        heapq.heapreplace(heap, kept)
