"""The metrics of the scanner."""

from shared.metrics import counter, gauge, seconds

LEADING = gauge("scanner", "leading", "1: this scanner leads the system", "system")
ANNOUNCED = counter("scanner", "files_announced_total", "given to the fetchers", "system")
SCAN_SECONDS = seconds("scanner", "scan_seconds", "one scan of all elements", "system")
SCANNED = gauge("scanner", "last_scan_timestamp_seconds", "end of the last scan", "system")
ELEMENTS = gauge("scanner", "scan_elements", "looked at by the last scan", "system")
UNREACHABLE = gauge("scanner", "scan_elements_unreachable", "of those, not listed", "system")
HELD_BACK = gauge("scanner", "scan_files_held_back", "for later scans: too many files are in flight", "system")
LEFT = gauge("scanner", "scan_files_left", "by the last scan's rules", "system", "reason")
IN_FLIGHT = gauge("scanner", "files_in_flight", "at the last scan, for fetchers or sinks", "system", "waiting_for")
