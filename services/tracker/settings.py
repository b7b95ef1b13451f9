"""The tracker's own settings."""

from dataclasses import dataclass
from typing import Annotated

from shared.configuration.resolve import Seconds, SecondsOrZero


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """Section `tracker`."""

    lease_s: Annotated[Seconds, "a command to move a file that nobody answered in this time is given again"] = 300.0
    look_s: Annotated[Seconds, "between two looks for progress, and at the configuration"] = 5.0
    session_timeout_s: Annotated[Seconds, "a killed tracker's partitions move on after this"] = 10.0
    lateness_s: Annotated[SecondsOrZero, "a cycle closes so long after its period; later files change its figures"] = (
        900.0
    )
    keep_s: Annotated[Seconds, "a cycle that ended longer ago is closed for good"] = 172_800.0
