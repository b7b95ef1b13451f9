"""What reading a PM file gives: its messages, what is set aside, and what became of every value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.fetcher.rows.spool import SpoolFile, Text, text_of


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file comes from, as far as its messages tell."""

    system: str
    file_id: str
    element: str
    """By the file's name or the inventory: for files that do not tell."""
    ver: int
    zone_offset_min: int = 0
    """The element's zone: for times that name none."""
    file_name: str = ""
    """Tells the measurement group of some vendors' tables."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Of the element: other name -> its name in the inventory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of the counters topic."""

    held: Text
    group: str
    end_s: int
    """End of the granularity period."""
    rows: int
    values: int

    @property
    def value(self) -> bytes:
        """A CounterBatch, encoded."""
        return text_of(self.held)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something of the file that cannot be stored, set aside as it is."""

    reason: str
    group: str
    values: int
    held: Text

    @property
    def detail(self) -> bytes:
        """JSON, at most as long as a message: which block, what counts do not fit, its rows."""
        return text_of(self.held)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the values (cells that are not empty): stored, quarantined or dropped, nothing else."""

    groups: int
    rows: int
    suspect: int
    """Rows flagged so, as the file has them."""
    values: int
    """Stored."""
    nulls: int
    """Cells without a value."""
    quarantined: int
    dropped: int
    reasons: dict[str, int]
    """Values quarantined or dropped, by reason."""
    mistyped: dict[str, int] = field(default_factory=dict)
    """Counter -> values that are stored though the dictionary promised another type."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole file. Close it when its messages are sent."""

    batches: list[Batch]
    counts: Counts
    quarantined: list[Quarantined]
    notes: list[str] = field(default_factory=list)
    """On how it was read: what a person should know."""
    spooled: SpoolFile | None = None
    """Where its messages are, when they are too many for memory."""

    def close(self) -> None:
        if self.spooled:
            self.spooled.close()
