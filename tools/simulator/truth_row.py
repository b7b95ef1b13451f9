"""A row of the truth: what must be stored of one measured object and period."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | list[str | None] | None
"""The exact text of a scalar, the texts of a vector (None for a blank one), or None for a missing value."""


@dataclass(frozen=True, slots=True)
class TruthRow:
    """What must be stored of one measured object and period."""

    system: str
    element: str
    """Distinguished name: dnPrefix and localDn."""
    group: str
    object: str
    """MeasObjLdn."""
    end_s: int
    """End of the period, seconds since 1970."""
    gp_s: int
    suspect: bool
    values: Mapping[str, Value]
    """By counter."""

    @property
    def present(self) -> int:
        """How many values are there; a vector is one."""
        return sum(value is not None for value in self.values.values())
