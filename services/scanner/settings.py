"""The scanner's own settings."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSettings:
    """Section `scanner`."""

    lease_s: Annotated[float, "an announced file nobody fetched by then is announced again"] = 600.0
    first_wait_s: Annotated[float, "before a file that could not be fetched is announced again; doubles"] = 1.0
    longest_wait_s: Annotated[float, "of these waits"] = 3600.0
    config_look_s: Annotated[float, "between two looks whether the configuration changed"] = 5.0
    settle_s: Annotated[float, "between the two looks at a file that must find it unchanged"] = 2.0
    listings: Annotated[int, "elements of a system listed at once"] = 8
    temporary_suffixes: Annotated[tuple[str, ...], "of files an element is still writing"] = (
        ".part",
        ".tmp",
        ".filepart",
        ".writing",
    )
