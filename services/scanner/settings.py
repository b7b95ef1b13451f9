"""The scanner's own settings."""

from dataclasses import dataclass
from typing import Annotated

from shared.configuration.resolve import Name, Seconds, SecondsOrZero, Threads
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSettings:
    """Section `scanner`."""

    lease_s: Annotated[Seconds, "an announced file nobody fetched by then is announced again"] = 600.0
    first_wait_s: Annotated[Seconds, "before a file that could not be fetched is announced again; doubles"] = 1.0
    longest_wait_s: Annotated[Seconds, "of these waits"] = 3600.0
    config_look_s: Annotated[Seconds, "between two looks whether the configuration changed"] = 5.0
    settle_s: Annotated[SecondsOrZero, "between the two looks at a file that must find it unchanged"] = 2.0
    listings: Annotated[Threads, "elements of a system listed at once"] = 8
    temporary_suffixes: Annotated[tuple[Name, ...], "of files an element is still writing"] = (
        ".part",
        ".tmp",
        ".filepart",
        ".writing",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Zookeeper:
    """Where scanners elect the leader of each system."""

    connection_string: Annotated[Name, "host:port, comma-separated"] = "localhost:2181"


def zookeeper_of(settings: Settings) -> Zookeeper:
    """Returns the section `zookeeper`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("zookeeper", Zookeeper)
