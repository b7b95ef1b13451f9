"""The parser's output: blocks of rows as JSON text, each with the head of its measInfo."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class MeasInfoHead:
    """The facts that stand once for all rows of a measInfo, as they are written in the file.

    All blocks of a measInfo share one head. Its reader fills it until the measInfo ends; nobody changes it afterwards.
    """

    element: str = ""
    """Distinguished name of the managed element; empty if the file does not name it."""
    group: str = ""
    job: str = ""
    duration: str = ""
    begin: str = ""
    end: str = ""
    """End of the granularity period; empty in dialects that give its begin instead."""
    counters: tuple[str, ...] = ()
    first_object: str = ""
    line: int = 0
    """Line of the file at which the period is given, or at which the measInfo begins; 0: unknown."""
    sw_version: str = ""
    """Software version of the element; empty if the file does not name it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that does not fit its head, or a counter that is named where none is allowed."""

    reason: str
    object: str
    """The measured object, or the name of the counter."""
    suspect: bool
    results: tuple[str, ...]
    positions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasInfoBlock:
    """Some rows of a measInfo, in the order of the file."""

    head: MeasInfoHead
    objects: list[str]
    """The measured object of each row, as JSON."""
    lines: list[str]
    """The rows as JSON: [object, 0|1 for suspect, value, ...], with values in the order of the head's counters."""
    nulls: int
    faults: list[Fault] = field(default_factory=list)
    suspect: int = 0
    """Rows that the file flags as suspect."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason -> values that are neither in rows nor in faults."""
    note: str = ""
    """A remark for the operator on how the file was read."""
