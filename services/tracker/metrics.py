"""The metrics of the tracker."""

from shared.metrics import counter, gauge

TRACKED = gauge("tracker", "tracker_files", "waiting for sinks, or moving until a fetcher answers", "state")
TRACKER_LAG = gauge("tracker", "tracker_lag_records", "of the ledger, in the partitions this tracker has")
COMMANDS_AGAIN = counter("tracker", "commands_again_total", "to move a file, as nobody answered in time")
CYCLE_END = gauge("tracker", "cycle_end_timestamp_seconds", "of the newest closed cycle", "system")
CYCLE_EXPECTED = gauge("tracker", "cycle_elements_expected", "in the newest closed cycle", "system")
CYCLE_MISSING = gauge("tracker", "cycle_elements_missing", "of those, without a file", "system")
CYCLE_LATE = gauge("tracker", "cycle_files_late", "in the newest closed cycle", "system")
CYCLE_ERROR = gauge("tracker", "cycle_files_error", "in the newest closed cycle", "system")
CYCLE_VALUES = gauge("tracker", "cycle_values", "in the newest closed cycle", "system")
CYCLE_SUSPECT = gauge("tracker", "cycle_suspect_ratio", "of the newest closed cycle's rows", "system")
CYCLE_LATENCY = gauge(
    "tracker", "cycle_latency_seconds", "of its slowest file, from the end of the period", "system", "stage"
)
FILES = gauge("tracker", "files", "of the cycles that are kept, by state", "system", "state")
