"""The tracker's own settings."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """Section `tracker`."""

    lease_s: Annotated[float, "a command to move a file that nobody answered in this time is given again"] = 300.0
