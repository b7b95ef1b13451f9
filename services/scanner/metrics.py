"""The metrics of the scanner."""

from shared.metrics import counter, gauge, seconds

LEADING = gauge("scanner", "leading", "1 if this scanner leads the system, else 0.", "system")
ANNOUNCED = counter("scanner", "files_announced_total", "Files announced to the fetchers.", "system")
FILES_SCANNED = counter(
    "scanner",
    "files_scanned_total",
    "Files listed by the scans: announced, held back, on record, or the reason for which they were left.",
    "system",
    "outcome",
)
ELEMENTS_FAILED = counter(
    "scanner",
    "elements_not_scanned_total",
    "Elements that could not be listed: unreachable, or a defect of the code, which was logged.",
    "system",
    "reason",
)
SCAN_SECONDS = seconds("scanner", "scan_seconds", "Duration of a scan of all elements of a system.", "system")
SCANNED = gauge("scanner", "last_scan_timestamp_seconds", "Time at which the last scan ended.", "system")
ELEMENTS = gauge("scanner", "scan_elements", "Elements in the last scan.", "system")
UNREACHABLE = gauge(
    "scanner", "scan_elements_unreachable", "Elements that could not be listed in the last scan.", "system"
)
NOT_TRIED = gauge(
    "scanner",
    "scan_elements_not_tried",
    "Unreachable elements that the last scan did not try again; the next scan tries them first.",
    "system",
)
HELD_BACK = gauge(
    "scanner",
    "scan_files_held_back",
    "Files left for a later scan because the limit of files in flight was reached.",
    "system",
)
LEFT = gauge("scanner", "scan_files_left", "Files the last scan left on the elements, by reason.", "system", "reason")
IN_FLIGHT = gauge(
    "scanner",
    "files_in_flight",
    "Files waiting for fetchers or sinks when the last scan began.",
    "system",
    "waiting_for",
)
