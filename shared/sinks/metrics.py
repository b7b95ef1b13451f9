"""The metrics of both sinks."""

from shared.metrics import counter, gauge, seconds, sizes

SINKS = "mysql_writer, ch_bridge"

STORED_BATCHES = counter(SINKS, "stored_batches_total", "Batches stored durably.", "sink", "system")
STORED_ROWS = counter(SINKS, "stored_rows_total", "Rows stored durably.", "sink", "system")
STORED_VALUES = counter(SINKS, "stored_values_total", "Values stored durably, nulls included.", "sink", "system")
WRITE_SECONDS = seconds(SINKS, "write_seconds", "Duration of one write, including failed writes.", "sink")
WRITE_RETRIES = counter(
    SINKS, "write_retries_total", "Retries because the database did not answer or asked to try again.", "sink"
)
TOPIC_WAITS = counter(
    SINKS, "topic_waits_total", "Writes of one topic that failed while the database answered.", "sink", "topic"
)
HELD_MESSAGES = gauge(
    SINKS,
    "sink_held_back_messages",
    "Messages in memory that wait for their topic's share of a write, or because the database does not take the topic.",
    "sink",
    "topic",
    "partition",
)
LAG = gauge(SINKS, "sink_lag_messages", "Messages in the topic that are not stored yet.", "sink", "topic", "partition")
BEHIND = gauge(
    SINKS,
    "sink_behind_seconds",
    "Age of the newest message taken into a write, while messages are waiting; 0 when none are waiting.",
    "sink",
    "topic",
    "partition",
)
WRITE_BATCHES = sizes(SINKS, "write_batches", "Batches per write.", "sink")
WRITE_ROWS = sizes(SINKS, "write_rows", "Rows per write.", "sink")
SCHEMA_CHANGES = counter(
    SINKS, "schema_changes_total", "Columns added or widened, day partitions created or dropped.", "sink", "action"
)
ROWS_DROPPED = counter(SINKS, "rows_dropped_total", "Rows that were not stored, by reason.", "sink", "system", "reason")
DATABASE_ERRORS = counter(
    SINKS,
    "database_errors_total",
    "Errors that the database reported, by code and class (refused, stale, passing, operator, unknown).",
    "sink",
    "code",
    "class",
)
OFFSET_GAPS = counter(
    SINKS,
    "offset_gaps_total",
    "Times that messages had left the topic before they were stored, or that the topic was created anew.",
    "sink",
    "topic",
    "partition",
)
OFFSET_GAP_MESSAGES = counter(
    SINKS,
    "offset_gap_messages_total",
    "Messages that left the topic before they were stored.",
    "sink",
    "topic",
    "partition",
)
CONFLICTING_FILES = counter(
    "mysql_writer",
    "conflicting_files_total",
    "Files whose element another endpoint delivered for the same period; the newer file wins.",
    "system",
)
