"""The fetcher's own settings."""

from dataclasses import dataclass
from typing import Annotated

LONGEST_WAIT_S = 60.0
"""The longest wait between two attempts of the same download or move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherSettings:
    """Section `fetcher`. How many files of a system are downloaded at once is the system's consumerThreads."""

    attempts: Annotated[int, "to download a file, before a later scan announces it again"] = 3
    first_wait_s: Annotated[float, "between the first two attempts; doubles, with jitter"] = 0.5
    movers: Annotated[int, "files moved to done/ or error/ at once"] = 4
    in_flight_per_thread: Annotated[int, "files taken from the topic for each download thread"] = 8
    files_per_session: Annotated[int, "of one endpoint, at most, that one download thread takes together"] = 16
    spool_bytes: Annotated[int, "of files taken together, in memory; a larger file goes to disk"] = 16 << 20
    spool_directory: Annotated[str, "for what goes to disk; else the machine's for temporary files"] = ""
    config_look_s: Annotated[float, "between two looks whether the configuration or an inventory changed"] = 5.0
    parsers: Annotated[int, "processes that parse, each one core; 0: one for each core"] = 0
    parse_timeout_s: Annotated[float, "a file that takes longer hangs the parser and moves to error/"] = 120.0
    parser_memory_mb: Annotated[int, "that one parser may take"] = 2048
    parsed_memory_mb: Annotated[int, "of a file's messages, held until its end was read; more goes to disk"] = 32
    bytes_in_flight: Annotated[int, "of files under way at once, about; a larger one goes alone"] = 256 << 20
    producers: Annotated[int, "clients that write to Kafka"] = 2
    profiles: Annotated[tuple[str, ...], "directories of profiles of vendors' tables, before the shipped ones"] = ()
