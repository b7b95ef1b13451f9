"""Which files of a listing are taken, and which of those first. Pure."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import TypeVar

from shared.remote.session import Entry
from shared.settings import BadSettings, System

T = TypeVar("T")


@dataclass(frozen=True)
class Rules:
    """A system's rules; a file that is left has a reason."""

    system: System
    temporary_suffixes: tuple[str, ...]

    def __post_init__(self) -> None:
        self.matches()

    def matches(self) -> Callable[[bytes], object]:
        """The pattern on names.

        Raises:
            BadSettings: not a regular expression.
        """
        pattern = self.system.pattern
        try:
            text = pattern.removeprefix("regex:") if pattern.startswith("regex:") else translate(pattern)
            return re.compile(text.encode()).fullmatch
        except re.error as error:
            raise BadSettings(f"{self.system.name}: pattern {pattern!r}: {error}") from error

    def taken(self, listing: Iterable[Entry], now_s: float) -> tuple[list[Entry], Counter[str]]:
        """The files that may be taken now, and how many were left for which reason."""
        matches, left, taken = self.matches(), Counter[str](), []
        for entry in listing:
            reason = self._left(entry, now_s) or ("" if matches(entry.name) else "name does not match")
            if reason:
                left[reason] += 1
            else:
                taken.append(entry)
        return taken, left

    def _left(self, entry: Entry, now_s: float) -> str:
        age_s, system = now_s - entry.mtime_s, self.system
        if entry.name.startswith(b".") or entry.name.endswith(tuple(s.encode() for s in self.temporary_suffixes)):
            return "temporary name"
        if entry.size < system.min_size:
            return "too small"
        if system.max_size and entry.size > system.max_size:
            return "too large"
        if system.min_age_s and age_s < system.min_age_s:
            return "too young"
        return "too old" if system.max_age_s and age_s > system.max_age_s else ""


def settled(first: Iterable[Entry], second: Iterable[Entry]) -> list[Entry]:
    """Files two looks found alike: their element has finished them, whatever their mtime says."""
    unchanged = set(first)
    return [entry for entry in second if entry in unchanged]


def first_ones(files: Iterable[T], age: Callable[[T], int], room: int, backlog_share: float) -> Sequence[T]:
    """As many as there is room for: the newest cycle first, with a share for the oldest, so that no backlog starves.

    Args:
        files: to choose from.
        age: what tells the cycle of a file; higher is newer.
        room: how many may be chosen.
        backlog_share: of the room, for the oldest files.
    """
    newest_first = sorted(files, key=age, reverse=True)
    if len(newest_first) <= room:
        return newest_first
    oldest = int(max(room, 0) * backlog_share)
    newest = max(room, 0) - oldest
    return newest_first[:newest] + newest_first[len(newest_first) - oldest :]
