"""The settings of the tracker."""

from dataclasses import dataclass
from typing import Annotated

from shared.configuration.resolve import Seconds, SecondsOrZero


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """Section `tracker`."""

    lease_s: Annotated[Seconds, "a command to move a file that is not answered in this time is repeated"] = 300.0
    look_s: Annotated[Seconds, "interval between checks of its progress and of the configuration"] = 5.0
    session_timeout_s: Annotated[Seconds, "partitions of a killed tracker move to another one after this time"] = 10.0
    lateness_s: Annotated[
        SecondsOrZero, "a cycle closes this long after its period; later files change its figures"
    ] = 900.0
    keep_s: Annotated[Seconds, "a cycle that ended longer ago no longer changes"] = 172_800.0
    postponed_s: Annotated[
        Seconds, "a postponed file that is not announced again for so long, though its element's new files are, is lost"
    ] = 86_400.0
    sweep_s: Annotated[Seconds, "interval between sweeps that remove finished files from the ledger"] = 86_400.0
