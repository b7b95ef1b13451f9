"""The settings of the scanner."""

from dataclasses import dataclass
from typing import Annotated

from shared.configuration.resolve import Name, Seconds, SecondsOrZero, Threads
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSettings:
    """Section `scanner`."""

    lease_s: Annotated[Seconds, "an announced file that no fetcher has taken by then is announced again"] = 600.0
    first_wait_s: Annotated[Seconds, "wait before a file that could not be fetched is announced again; doubles"] = 1.0
    longest_wait_s: Annotated[Seconds, "longest of these waits"] = 3600.0
    config_look_s: Annotated[Seconds, "interval between checks for a changed configuration"] = 5.0
    settle_s: Annotated[SecondsOrZero, "interval between the two listings in which a file must be unchanged"] = 2.0
    listing_s: Annotated[Seconds, "longest time for listing one element; then it counts as unreachable"] = 240.0
    announce_after_s: Annotated[Seconds, "interval at which a scan announces what it has found so far"] = 1.0
    listings: Annotated[
        Threads, "elements of a system that are listed at the same time, slow and silent ones apart"
    ] = 192
    unreachable_s: Annotated[
        Seconds,
        "time in which a scan tries elements that did not answer the one before; the rest is tried first next time",
    ] = 120.0
    temporary_suffixes: Annotated[tuple[Name, ...], "suffixes of files that an element is still writing"] = (
        ".part",
        ".tmp",
        ".filepart",
        ".writing",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Zookeeper:
    """The ZooKeeper servers that elect the leader of each system."""

    connection_string: Annotated[Name, "host:port, comma-separated"] = "localhost:2181"


def zookeeper_of(settings: Settings) -> Zookeeper:
    """Returns the section `zookeeper`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("zookeeper", Zookeeper)
