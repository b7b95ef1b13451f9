"""The fetcher's own settings."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from shared.configuration.resolve import Name, Number, Seconds, Threads, ThreadsOrZero

LONGEST_WAIT_S = 60.0
"""The longest wait between two attempts of the same download or move."""
THREADS_PER_PARSER = 2
"""Threads that have files parsed and send them: while one sends, the parser works for another."""
IDLE_MB = 200
"""Memory of a fetcher that does nothing, with a thousand idle sessions (80 kB each)."""
PRODUCER_QUEUE_MB, CONSUMER_QUEUE_MB = 64, 16
"""Limits of the queues in `shared.kafka`, per producer and per consumer."""
FirstWait = Annotated[float, Meta(gt=0, le=LONGEST_WAIT_S)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherSettings:
    """Section `fetcher`. The number of parallel downloads of a system is the system's consumerThreads."""

    attempts: Annotated[Threads, "attempts to download a file; after the last, a later scan announces it again"] = 3
    incomplete_attempts: Annotated[
        Threads, "announcements of an unchanged file that is incomplete each time; after the last, it moves to error/"
    ] = 6
    postponed_attempts: Annotated[
        Number,
        "announcements of a file that is on its element but cannot be fetched; after the last, it moves to error/",
    ] = 100
    first_wait_s: Annotated[FirstWait, "wait after the first failed attempt; doubles each time, with jitter"] = 0.5
    movers: Annotated[
        Threads,
        "number of elements whose files are moved to done/ or error/ in parallel; of several hosts, each has its share",
    ] = 20
    in_flight_per_thread: Annotated[
        Threads, "files of a system in progress for each of its download threads; more announcements wait in memory"
    ] = 32
    commands_in_flight: Annotated[Number, "commands to move files in progress; more wait in memory"] = 256
    max_waiting: Annotated[
        Number, "maximum number of announcements, and of commands, that wait in memory (1 kB each); more wait in Kafka"
    ] = 150_000
    files_per_session: Annotated[Number, "maximum number of files of one endpoint downloaded together"] = 16
    spool_bytes: Annotated[Number, "maximum size of files downloaded together in memory; larger files go to disk"] = (
        16 << 20
    )
    spool_directory: Annotated[str, "directory for what goes to disk; empty: the system's temporary directory"] = ""
    config_look_s: Annotated[Seconds, "interval of checks for a changed configuration or inventory"] = 5.0
    parsers: Annotated[
        ThreadsOrZero, "number of parser processes, each uses one core; 0: one per core of the container"
    ] = 0
    parse_timeout_s: Annotated[Seconds, "maximum time to parse a file; a slower one moves to error/"] = 120.0
    parser_memory_mb: Annotated[Number, "maximum memory of one parser process"] = 2048
    parsed_memory_mb: Annotated[Number, "maximum size of a file's messages in memory; the rest goes to disk"] = 32
    bytes_in_flight: Annotated[
        Number,
        "maximum size of all files being processed, in equal shares for the systems; a larger one is processed alone",
    ] = 256 << 20
    producers: Annotated[Threads, "number of Kafka producers"] = 2
    profiles: Annotated[
        tuple[Name, ...], "directories with profiles of vendors' tables; they precede the ones that pmflow ships"
    ] = ()

    def memory_mb(self, parsers: int) -> int:
        """Returns the most memory that the fetcher and so many parser processes need."""
        queues = self.producers * PRODUCER_QUEUE_MB + CONSUMER_QUEUE_MB
        waiting = 2 * self.max_waiting // 1000  # announcements and commands, 1 kB each
        received = THREADS_PER_PARSER * parsers * self.parsed_memory_mb
        own = IDLE_MB + queues + waiting + received + (self.bytes_in_flight >> 20)
        return own + parsers * self.parser_memory_mb
