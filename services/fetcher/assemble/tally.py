"""Counts the values of a file and checks that none is lost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.fetcher.assemble.result import Batch, Counts, Origin, Quarantined


class ConservationError(RuntimeError):
    """Values of a file were lost, or rows were damaged, while it was assembled: a defect of pmflow."""

    def __init__(self, origin: Origin, problem: str) -> None:
        super().__init__(f"file {origin.file_id} ({origin.file_name}) of {origin.system}/{origin.element}: {problem}")


@dataclass(slots=True)
class Tally:
    """The values found in a file, and those that are not stored."""

    found: int = 0
    """Values in the file."""
    nulls: int = 0
    """Cells without a value."""
    suspect: int = 0
    """Rows that the file flags as suspect."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> dropped values."""

    def add_nulled(self, values: int) -> None:
        """Counts values that turned out to be missing tokens."""
        self.found -= values
        self.nulls += values

    def counts(
        self, origin: Origin, batches: list[Batch], quarantined: Iterable[Quarantined], mistyped: Mapping[str, int]
    ) -> Counts:
        """Returns what became of all values.

        Raises:
            ConservationError: the values found are not those stored, quarantined and dropped.
        """
        stored = sum(batch.values for batch in batches)
        reasons = Counter({reason: values for reason, values in self.dropped.items() if values})
        dropped = reasons.total()
        for block in quarantined:
            reasons[block.reason] += block.values
        if self.found != stored + reasons.total():
            raise ConservationError(
                origin,
                f"{self.found} values found, but {stored} stored and {reasons.total()} quarantined or dropped",
            )
        return Counts(
            groups=len({batch.group for batch in batches}),
            rows=sum(batch.rows for batch in batches),
            suspect=self.suspect,
            values=stored,
            nulls=self.nulls,
            quarantined=reasons.total() - dropped,
            dropped=dropped,
            reasons=dict(reasons),
            mistyped=dict(mistyped),
        )
