"""The metrics of the fetcher."""

from shared.metrics import counter, gauge, seconds, sizes

PROCESSED = counter("fetcher", "files_processed_total", "announced files, by what became of them", "system", "stage")
LOST = counter("fetcher", "files_lost_total", "vanished from the element before the fetch", "system")
FETCH_RETRIES = counter("fetcher", "fetch_retries_total", "files whose download was tried again", "system")
FETCHED_BYTES = counter("fetcher", "fetched_bytes_total", "of parsed files, as they were on the element", "system")
FILE_SECONDS = seconds("fetcher", "file_seconds", "one announced file, until its status is published", "system")
DOWNLOAD_SECONDS = seconds("fetcher", "download_seconds", "until a file was read, with its wait for a connection")
PARSE_SECONDS = seconds("fetcher", "parse_seconds", "one file, with its wait for a parser")
VALUES = counter(
    "fetcher", "values_total", "of parsed files: value, null, quarantined, dropped; why", "system", "outcome", "reason"
)
MISTYPED = counter("fetcher", "mistyped_values_total", "of another type than the dictionary promises", "system")
MESSAGE_ROWS = sizes("fetcher", "message_rows", "rows of one message in the counters topic")
LAG_FOUND = gauge("fetcher", "fetcher_lag_messages", "of the partitions this fetcher has, not taken yet", "topic")
IN_HAND = gauge("fetcher", "fetcher_messages_in_hand", "taken from the topic, not finished yet", "topic")
POOL_THREADS = gauge("fetcher", "pool_threads", "of a system's downloads, or of moves", "pool")
POOL_BUSY = gauge("fetcher", "pool_threads_busy", "of those, at work", "pool")
PARSERS = gauge("fetcher", "parsers", "processes that parse")
PARSING = gauge("fetcher", "parsers_files", "files with a parser, or waiting for one")
MOVES = counter("fetcher", "moves_total", "settled files: move, delete, leave; gone: not there", "system", "action")
MOVES_FAILED = counter("fetcher", "moves_failed_total", "tries to settle a file: no answer, or refused")
