"""The metrics of the fetcher."""

from shared.metrics import counter, gauge, seconds, sizes

PROCESSED = counter("fetcher", "files_processed_total", "Announced files by their final stage.", "system", "stage")
LOST = counter("fetcher", "files_lost_total", "Files that vanished from the element before the fetch.", "system")
DUPLICATES = counter(
    "fetcher",
    "duplicate_announcements_total",
    "Announcements of files that had been processed before; nothing is changed by them.",
    "system",
)
FETCH_RETRIES = counter("fetcher", "fetch_retries_total", "Downloads that were tried again.", "system")
FETCH_DEFECTS = counter(
    "fetcher", "fetch_defects_total", "Downloads that failed unexpectedly and are tried again; see the log.", "system"
)
FETCHED_BYTES = counter(
    "fetcher", "fetched_bytes_total", "Bytes of parsed files, in their size on the element.", "system"
)
FILE_SECONDS = seconds("fetcher", "file_seconds", "Time to process one announced file.", "system")
DOWNLOAD_SECONDS = seconds("fetcher", "download_seconds", "Time to download one file, waiting for a session included.")
PARSE_SECONDS = seconds("fetcher", "parse_seconds", "Time to parse one file, waiting for a parser included.")
VALUES = counter(
    "fetcher",
    "values_total",
    "Values of parsed files by outcome (value, null, quarantined, dropped) and reason.",
    "system",
    "outcome",
    "reason",
)
MISTYPED = counter(
    "fetcher", "mistyped_values_total", "Stored values whose type is not the one the dictionary declares.", "system"
)
MESSAGE_ROWS = sizes("fetcher", "message_rows", "Rows per message in the counters topic.")
LAG_FOUND = gauge(
    "fetcher", "fetcher_lag_messages", "Messages in the assigned partitions that no thread works on yet.", "topic"
)
IN_HAND = gauge("fetcher", "fetcher_messages_in_hand", "Messages in progress, until their effect is durable.", "topic")
WAITING = gauge("fetcher", "fetcher_messages_waiting", "Messages that wait in memory for threads of a pool.", "pool")
POOL_THREADS = gauge("fetcher", "pool_threads", "Threads of a pool: the downloads of one system, or moves.", "pool")
POOL_BUSY = gauge("fetcher", "pool_threads_busy", "Threads of a pool that are at work.", "pool")
PARSERS = gauge("fetcher", "parsers", "Parser processes.")
PARSING = gauge("fetcher", "parsers_files", "Files that are being parsed or wait for a parser.")
MOVES = counter(
    "fetcher", "moves_total", "Settled files by action (move, delete, leave; gone: not found).", "system", "action"
)
MOVES_FAILED = counter("fetcher", "moves_failed_total", "Failed attempts to settle a file.")
