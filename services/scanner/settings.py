"""The settings of the scanner."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSettings:
    """Section `scanner`."""

    lease_s: Annotated[float, "an announced file that no fetcher has taken by then is announced again"] = 600.0
    first_wait_s: Annotated[float, "wait before a file that could not be fetched is announced again; doubles"] = 1.0
    longest_wait_s: Annotated[float, "longest of these waits"] = 3600.0
    config_look_s: Annotated[float, "interval between checks for a changed configuration"] = 5.0
    settle_s: Annotated[float, "interval between the two listings in which a file must be unchanged"] = 2.0
    listings: Annotated[int, "elements of a system that are listed at the same time"] = 8
    temporary_suffixes: Annotated[tuple[str, ...], "suffixes of files that an element is still writing"] = (
        ".part",
        ".tmp",
        ".filepart",
        ".writing",
    )
