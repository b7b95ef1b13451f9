"""The metrics that both sinks count alike."""

from shared.metrics import counter, gauge, seconds, sizes

SINKS = "mysql_writer, ch_bridge"

STORED_BATCHES = counter(SINKS, "stored_batches_total", "durable in the sink", "sink", "system")
STORED_ROWS = counter(SINKS, "stored_rows_total", "durable in the sink", "sink", "system")
STORED_VALUES = counter(SINKS, "stored_values_total", "durable in the sink, nulls included", "sink", "system")
WRITE_SECONDS = seconds(SINKS, "write_seconds", "one write, failed ones included", "sink")
WRITE_RETRIES = counter(SINKS, "write_retries_total", "the database did not answer", "sink")
LAG = gauge(SINKS, "sink_lag_messages", "in the topic and not stored yet", "sink", "topic", "partition")
BEHIND = gauge(
    SINKS, "sink_behind_seconds", "age of the newest message read; 0: none waits", "sink", "topic", "partition"
)
WRITE_BATCHES = sizes(SINKS, "write_batches", "batches of one write", "sink")
WRITE_ROWS = sizes(SINKS, "write_rows", "rows of one write", "sink")
SCHEMA_CHANGES = counter(SINKS, "schema_changes_total", "columns and day partitions", "sink", "action")
ROWS_DROPPED = counter(SINKS, "rows_dropped_total", "not stored, for a reason", "sink", "system", "reason")
