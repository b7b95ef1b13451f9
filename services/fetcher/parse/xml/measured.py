"""The measInfo and the row that are being read: a row fits the counters of its measInfo, or it is faulty."""

from dataclasses import dataclass, field

from services.fetcher.parse.block import Fault, MeasInfoHead
from services.fetcher.parse.values.rows import RowTexts
from services.fetcher.reasons import AMBIGUOUS_COMMA, COUNT_MISMATCH, DUPLICATE_P, LATE_NAME, UNKNOWN_P


@dataclass(slots=True)
class MeasInfo:
    """The measInfo that is being read."""

    head: MeasInfoHead
    names: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    """The p of each counter: the one in the file, or else its position in the list."""
    is_open: bool = True
    """True while counters may still be named: until the first row."""
    rows: list[RowTexts] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    suspect: bool = False
    """True if the file flags all of its rows as suspect."""
    clear: bool | None = None
    """The known result of `is_clear`."""

    def name(self, names: list[str], position: str = "") -> None:
        """Adds counters; a counter that is named after the first row is a fault."""
        if self.is_open:
            self.clear = None
            self.positions += positions_of(names, position, len(self.names))
            self.names += names
        else:
            self.faults += [Fault(LATE_NAME, name, suspect=False, results=(), positions=(position,)) for name in names]

    def close(self, first_object: str) -> None:
        """Ends the list of counters at the first row; later calls change nothing."""
        if self.is_open:
            self.is_open = False
            self.head.counters = tuple(self.names)
            self.head.first_object = first_object

    @property
    def is_clear(self) -> bool:
        """True if each counter has a p of its own."""
        if self.clear is None:
            self.clear = len(set(self.positions)) == len(self.positions)
        return self.clear

    def row(self, row: "MeasValue") -> None:
        """Adds a complete row, as a fault if it does not fit the counters."""
        self.close(row.object)
        if reason := AMBIGUOUS_COMMA if row.is_ambiguous else self._misfit(row):
            self.faults.append(Fault(reason, row.object, row.suspect, tuple(row.results), tuple(row.positions)))
        else:
            self.rows.append((row.object, row.suspect, tuple(self._in_order(row))))

    def _misfit(self, row: "MeasValue") -> str:
        """Returns why the values of a row cannot be assigned to the counters; empty if they can."""
        if not self.is_clear:
            return DUPLICATE_P
        if self._is_out_of_order(row):
            return _misplaced(row.positions, self.positions, len(row.results))
        return COUNT_MISMATCH if row.results and len(row.results) != len(self.names) else ""

    def _in_order(self, row: "MeasValue") -> list[str]:
        """Returns one text for each counter."""
        if self._is_out_of_order(row):
            at = dict(zip(row.positions, row.results, strict=True))
            return [at.get(p, "") for p in self.positions]
        return row.results or [""] * len(self.names)

    def _is_out_of_order(self, row: "MeasValue") -> bool:
        return any(row.positions) and row.positions != self.positions


def positions_of(names: list[str], position: str, before: int) -> list[str]:
    """Returns the p of counters: the one that is given, or else their positions behind those named before."""
    return [position] if position else [str(before + at) for at in range(1, len(names) + 1)]


def _misplaced(positions: list[str], expected: list[str], results: int) -> str:
    """Returns why values with these p cannot be assigned to counters; empty if they can."""
    if len(positions) != results:
        return COUNT_MISMATCH
    if len(set(positions)) < len(positions):
        return DUPLICATE_P
    return "" if set(positions) <= set(expected) else UNKNOWN_P


@dataclass(slots=True)
class MeasValue:
    """The row (measValue, mv) that is being read."""

    object: str
    suspect: bool = False
    results: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    is_ambiguous: bool = False
    """True if both blanks and commas separate its values."""
    names: list[str] = field(default_factory=list)
    """Counters that are named within the row."""
    name_positions: list[str] = field(default_factory=list)
