"""What a file says, as the dialects' readers hand it on: the head of a measInfo, and its rows as JSON text."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Head:
    """What stands once for all rows of a measInfo, as it is written in the file.

    The blocks of a measInfo share one; its reader fills it until the measInfo ends, nobody changes it afterwards.
    """

    element: str = ""
    """Distinguished name of the managed element, empty when the file does not tell it."""
    group: str = ""
    job: str = ""
    duration: str = ""
    begin: str = ""
    end: str = ""
    """End of the granularity period; a dialect that tells the begin instead leaves it empty."""
    counters: tuple[str, ...] = ()
    first_object: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that does not fit its head, or a counter named where none may be."""

    reason: str
    object: str
    """What was measured; the name of the counter."""
    suspect: bool
    results: tuple[str, ...]
    positions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a measInfo, in the order of the file."""

    head: Head
    objects: list[str]
    """What was measured, in JSON, one for each row."""
    lines: list[str]
    """The rows in JSON: [object, 0|1 for suspect, value, ...], values in the order of the head's counters."""
    nulls: int
    faults: list[Fault] = field(default_factory=list)
    suspect: int = 0
    """Rows flagged so."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Values that are neither in rows nor faults, by reason."""
    note: str = ""
    """On how the file was read: what a person should know of it."""
