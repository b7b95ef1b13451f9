"""A row of the truth: the values that must be stored for one measured object and period."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | list[str | None] | None
"""The exact text of a scalar, the texts of a vector (None for a blank part), or None for a missing value."""


@dataclass(frozen=True, slots=True)
class TruthRow:
    """The values that must be stored for one measured object and period."""

    system: str
    element: str
    """Distinguished name of the element: dnPrefix and localDn."""
    group: str
    object: str
    """The measObjLdn."""
    end_s: int
    """End of the period, seconds since 1970."""
    gp_s: int
    suspect: bool
    values: Mapping[str, Value]
    """Values by counter."""

    @property
    def present(self) -> int:
        """Number of values that are not missing; a vector counts as one."""
        return sum(value is not None for value in self.values.values())
