"""The metrics of the tracker."""

from typing import Literal, get_args

from shared.metrics import counter, gauge

TRACKED = gauge("tracker", "tracker_files", "Files that wait for sinks, or for a fetcher that moves them.", "state")
TRACKER_LAG = gauge("tracker", "tracker_lag_records", "Ledger records not processed yet, in this tracker's partitions.")
NOT_MOVED = gauge(
    "tracker", "files_not_moved", "Files that could not be moved to done/ or error/ at the last attempt.", "system"
)
Again = Literal["refused", "unanswered", "gap"]
"""Why the second reading of the ledger gives a command, or collects a file, again."""
AGAIN: tuple[Again, ...] = get_args(Again)
COMMANDS_AGAIN = counter(
    "tracker",
    "commands_again_total",
    "Repeated commands to move a file (refused: by its element; unanswered: within its lease), and files in a gap that "
    "were collected again by the second reading of the ledger only (gap).",
    "reason",
)
POSTPONED_ENDED = counter(
    "tracker", "postponed_ended_total", "Postponed files that are lost: replaced, or no longer on their element."
)
LEDGER_REMOVED = counter("tracker", "ledger_removed_total", "Finished files that this tracker removed from the ledger.")
CYCLE_END = gauge("tracker", "cycle_end_timestamp_seconds", "End of the period of the newest closed cycle.", "system")
CYCLE_EXPECTED = gauge(
    "tracker", "cycle_elements_expected", "Elements in the inventory at the newest closed cycle.", "system"
)
CYCLE_MISSING = gauge(
    "tracker", "cycle_elements_missing", "Elements without a file in the newest closed cycle.", "system"
)
CYCLE_LATE = gauge("tracker", "cycle_files_late", "Late files of the newest closed cycle.", "system")
CYCLE_ERROR = gauge("tracker", "cycle_files_error", "Unreadable files of the newest closed cycle.", "system")
CYCLE_VALUES = gauge("tracker", "cycle_values", "Values in the files of the newest closed cycle.", "system")
CYCLE_SUSPECT = gauge("tracker", "cycle_suspect_ratio", "Share of suspect rows in the newest closed cycle.", "system")
CYCLE_LATENCY = gauge(
    "tracker",
    "cycle_latency_seconds",
    "Time from the end of the period until the slowest file of the newest closed cycle reached a stage.",
    "system",
    "stage",
)
FILES_BY_STATE = gauge("tracker", "files", "Files of the cycles that are kept, by state.", "system", "state")
