"""The result of reading a PM file: its messages, the quarantined parts, and what became of every value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.fetcher.rows.spool import HeldText, SpoolFile, text_of


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a file, as far as its messages mention it."""

    system: str
    file_id: str
    element: str
    """The element according to the file's name or the inventory, for files that do not name it."""
    ver: int
    zone: str = "UTC"
    """The element's time zone, a name in the tz database, for times without a zone."""
    file_name: str = ""
    """The file's name; it contains the measurement group of some vendors' tables."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Alias of the element -> its name in the inventory."""
    endpoint: str = ""
    """Name of the endpoint, for systems whose elements have names that are unique only together with it."""
    parsed_s: int = 0
    """Time at which the file is parsed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of the counters topic."""

    held: HeldText
    group: str
    end_s: int
    """End of the granularity period."""
    rows: int
    values: int

    @property
    def value(self) -> bytes:
        """The encoded CounterBatch."""
        return text_of(self.held)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A part of the file that cannot be stored, kept as it is in the file."""

    reason: str
    group: str
    values: int
    held: HeldText

    @property
    def detail(self) -> bytes:
        """JSON, at most as long as a message: the measInfo, the counts that do not fit, and the rows."""
        return text_of(self.held)


@dataclass(frozen=True, slots=True)
class Counts:
    """The values (cells that are not empty) of a file. Each is stored, quarantined or dropped."""

    groups: int
    rows: int
    suspect: int
    """Rows that the file flags as suspect."""
    values: int
    """Stored values."""
    nulls: int
    """Cells without a value."""
    quarantined: int
    dropped: int
    reasons: dict[str, int]
    """Reason -> values that were quarantined or dropped for it."""
    mistyped: dict[str, int] = field(default_factory=dict)
    """Counter -> stored values whose type is not the one that the dictionary declares."""


@dataclass(slots=True)
class FileFacts:
    """The facts about a file that its ledger entry keeps besides counts."""

    managed_element: str = ""
    """The element whose rows the file brings; of several, the first."""
    sw_version: str = ""
    """Software version of that element; empty if the file does not name it."""
    jobs: dict[str, None] = field(default_factory=dict)
    """The jobIds in the file, in its order."""

    def add(self, element: str, sw_version: str, job: str) -> None:
        """Takes the facts of the next measInfo."""
        self.managed_element = self.managed_element or element
        self.sw_version = self.sw_version or sw_version
        if job:
            self.jobs[job] = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A complete file. Close it when its messages are sent."""

    batches: list[Batch]
    counts: Counts
    quarantined: list[Quarantined]
    facts: FileFacts
    notes: list[str] = field(default_factory=list)
    """Remarks for the operator on how the file was read."""
    spooled: SpoolFile | None = None
    """The messages that did not fit into memory."""

    def close(self) -> None:
        if self.spooled:
            self.spooled.close()
