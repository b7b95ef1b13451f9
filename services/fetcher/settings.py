"""The fetcher's own settings."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from shared.configuration.resolve import Name, Number, Seconds, Threads, ThreadsOrZero

LONGEST_WAIT_S = 60.0
"""The longest wait between two attempts of the same download or move."""
FirstWait = Annotated[float, Meta(gt=0, le=LONGEST_WAIT_S)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherSettings:
    """Section `fetcher`. How many files of a system are downloaded at once is the system's consumerThreads."""

    attempts: Annotated[Threads, "to download a file, before a later scan announces it again"] = 3
    first_wait_s: Annotated[FirstWait, "between the first two attempts; doubles, with jitter"] = 0.5
    movers: Annotated[Threads, "files moved to done/ or error/ at once"] = 4
    in_flight_per_thread: Annotated[Threads, "files taken from the topic for each download thread"] = 8
    files_per_session: Annotated[Number, "of one endpoint, at most, that one download thread takes together"] = 16
    spool_bytes: Annotated[Number, "of files taken together, in memory; a larger file goes to disk"] = 16 << 20
    spool_directory: Annotated[str, "for what goes to disk; else the machine's for temporary files"] = ""
    config_look_s: Annotated[Seconds, "between two looks whether the configuration or an inventory changed"] = 5.0
    parsers: Annotated[ThreadsOrZero, "processes that parse, each one core; 0: one for each core"] = 0
    parse_timeout_s: Annotated[Seconds, "a file that takes longer hangs the parser and moves to error/"] = 120.0
    parser_memory_mb: Annotated[Number, "that one parser may take"] = 2048
    parsed_memory_mb: Annotated[Number, "of a file's messages, held until its end was read; more goes to disk"] = 32
    bytes_in_flight: Annotated[Number, "of files under way at once, about; a larger one goes alone"] = 256 << 20
    producers: Annotated[Threads, "clients that write to Kafka"] = 2
    profiles: Annotated[tuple[Name, ...], "directories of profiles of vendors' tables, before the shipped ones"] = ()
