"""Collects the rows of one measInfo: it is stored or quarantined as a whole, which is decided at its end."""

from dataclasses import dataclass, field

from services.fetcher.parse.block import Fault, MeasInfoHead
from services.fetcher.rows.held import Rows


@dataclass(slots=True)
class CollectedMeasInfo:
    """The rows and faults that were read of a measInfo so far."""

    head: MeasInfoHead
    rows: list[Rows] = field(default_factory=list)
    faults: list[Rows] = field(default_factory=list)
    """The faulty rows, in the form that the quarantine shows."""
    first_fault: Fault | None = None
    types_found: frozenset[str] = frozenset()
    """See `declared.types_found`."""

    @property
    def reason(self) -> str:
        """The reason why the measInfo cannot be stored; empty if it can."""
        return self.first_fault.reason if self.first_fault else ""

    @property
    def first_results(self) -> int:
        """Number of values in the first faulty row, or in any row if there is none."""
        return len(self.first_fault.results) if self.first_fault else len(self.head.counters)
