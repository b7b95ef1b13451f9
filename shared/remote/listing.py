"""Limits of a listing, and the reasons why a listed entry cannot be collected. Pure, except for the clock."""

from dataclasses import dataclass, field
from time import monotonic

from shared.errors import Unreachable
from shared.remote.listing_lines import LAST_MTIME_S, Kind, Line
from shared.remote.session import Entry, OddEntry, is_plain_name

NOT_REGULAR = "not a regular file"
NO_TYPE = "type unknown"
NO_SIZE = "size unknown"
NO_TIME = "time unknown or not readable"
ODD_SIZE = "size out of range"
ODD_TIME = "time out of range"
ODD_NAME = "name not usable"
ODD_LINE = "listing line not readable"
LARGEST_BYTES = 1 << 50
"""No file is larger: a size beyond is a number that the server got wrong."""


def entry_of(name: bytes, size: int, mtime_s: int) -> Entry | OddEntry:
    """Returns the entry of a regular file, or why it cannot be one."""
    if not is_plain_name(name):
        return OddEntry(name, ODD_NAME)
    if not 0 <= size <= LARGEST_BYTES:
        return OddEntry(name, ODD_SIZE)
    if not 0 <= mtime_s < LAST_MTIME_S:
        return OddEntry(name, ODD_TIME)
    return Entry(name, size, mtime_s)


def listed(line: Line) -> Entry | OddEntry | None:
    """Returns the entry of a line about which nothing more can be learned; None for a directory."""
    if not is_plain_name(line.name) and line.kind != "unreadable":
        return OddEntry(line.name, ODD_NAME)
    if line.kind in _REASONS:
        return OddEntry(line.name, _REASONS[line.kind])
    if line.kind == "directory":
        return None
    if line.size is None or line.mtime_s is None:
        return OddEntry(line.name, NO_SIZE if line.size is None else NO_TIME)
    return entry_of(line.name, line.size, line.mtime_s)


_REASONS: dict[Kind, str] = {"unreadable": ODD_LINE, "other": NOT_REGULAR, "unknown": NO_TYPE}


@dataclass(frozen=True, slots=True)
class ListingLimits:
    """The most that one listing may bring: a server that never ends would keep its scan for ever."""

    entries: int = 1_000_000
    bytes: int = 1 << 28
    seconds: float = 600.0


@dataclass(slots=True)
class ListingBudget:
    """Counts what one listing has brought, and ends it at the limits."""

    limits: ListingLimits
    entries: int = 0
    bytes: int = 0
    began_s: float = field(default_factory=monotonic)

    def spend(self, *, entries: int = 0, size: int = 0) -> None:
        """Counts what arrived.

        Raises:
            Unreachable: more than the limits.
        """
        self.entries += entries
        self.bytes += size
        took_s = monotonic() - self.began_s
        if self.entries > self.limits.entries or self.bytes > self.limits.bytes or took_s > self.limits.seconds:
            raise Unreachable(
                f"the listing does not end: {self.entries} entries, {self.bytes} bytes in {took_s:.0f} s; "
                f"at most {self.limits.entries} entries, {self.limits.bytes} bytes and {self.limits.seconds:.0f} s"
            )
