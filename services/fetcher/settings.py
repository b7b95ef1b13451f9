"""The fetcher's own settings."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherSettings:
    """Section `fetcher`. The number of parallel downloads of a system is the system's consumerThreads."""

    attempts: Annotated[int, "attempts to download a file; after the last, a later scan announces it again"] = 3
    first_wait_s: Annotated[float, "wait after the first failed attempt; doubles each time, with jitter"] = 0.5
    movers: Annotated[int, "number of files that are moved to done/ or error/ in parallel"] = 4
    in_flight_per_thread: Annotated[int, "messages taken from the topic per download thread"] = 8
    files_per_session: Annotated[int, "maximum number of files of one endpoint that a thread downloads together"] = 16
    spool_bytes: Annotated[int, "maximum size of files downloaded together in memory; a larger file goes to disk"] = (
        16 << 20
    )
    spool_directory: Annotated[str, "directory for what goes to disk; empty: the system's temporary directory"] = ""
    config_look_s: Annotated[float, "interval of checks for a changed configuration or inventory"] = 5.0
    parsers: Annotated[int, "number of parser processes, each uses one core; 0: one per core"] = 0
    parse_timeout_s: Annotated[float, "maximum time to parse a file; a file that takes longer moves to error/"] = 120.0
    parser_memory_mb: Annotated[int, "maximum memory of one parser process"] = 2048
    parsed_memory_mb: Annotated[int, "maximum size of a file's messages in memory; the rest goes to disk"] = 32
    bytes_in_flight: Annotated[int, "maximum size of all files being processed; a larger file is processed alone"] = (
        256 << 20
    )
    producers: Annotated[int, "number of Kafka producers"] = 2
    profiles: Annotated[
        tuple[str, ...], "directories with profiles of vendors' tables; they precede the ones that pmflow ships"
    ] = ()
