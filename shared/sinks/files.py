"""The history of files as rows: statuses of the ledger go into the table pm_file, one row per file.

The row of a file is the same in any order of delivery, and when statuses come again:

- its state (stage, reason, ..) is that of the newest status, by `status_order`;
- its figures (counts, job, ..) are those of the newest parse, so that a later announcement erases nothing;
- its times are the latest that are known.

Both sinks merge statuses by these rules, each with its own SQL.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from shared.ledger import decode_status
from shared.messages import FileStatus, Stage
from shared.sinks.keeper import KeptTopic, OwnColumnKind
from shared.sinks.retention import first_kept_day
from shared.topics import FILES_STATUS
from shared.versions import version_of

FILE_KEY: Mapping[str, OwnColumnKind] = {"system": "text", "ver": "integer", "file_id": "text"}
"""The key of pm_file; `ver` is the version of the file's rows, in the tables of counters too."""
PLACE_COLUMNS: Mapping[str, OwnColumnKind] = {
    "endpoint": "text",
    "element": "text",
    "path": "text",
    "size": "integer",
    "mtime_s": "integer",
}
"""The columns that never change for a file."""
STATE_COLUMNS: Mapping[str, OwnColumnKind] = {
    "stage": "text",
    "reason": "text",
    "attempt": "integer",
    "tries": "integer",
}
FIGURE_COLUMNS: Mapping[str, OwnColumnKind] = {
    "managed_element": "text",
    "job": "text",
    "sw_version": "text",
    "batches": "integer",
    "rows": "integer",
    "suspect": "integer",
    "values": "integer",
    "nulls": "integer",
    "quarantined": "integer",
    "dropped": "integer",
    "topic": "text",
    "partition": "integer",
    "last_offset": "integer",
}
"""The columns that a parse fills; all statuses after it repeat them until the file is announced again."""
TIME_COLUMNS: Mapping[str, str] = {
    "ts": "end_s",
    "found": "found_s",
    "fetched": "fetched_s",
    "parsed": "parsed_s",
    "stored": "stored_s",
    "changed": "at_s",
}
"""Columns with times, and the fields of FileStatus that they come from; NULL for a time that is not known.

`ts` is the end of the period, as in the tables of counters; `changed` is the time of the newest status.
"""
FILE_COLUMNS: Mapping[str, OwnColumnKind] = {
    **PLACE_COLUMNS,
    **STATE_COLUMNS,
    **FIGURE_COLUMNS,
    **dict.fromkeys(TIME_COLUMNS, "time"),
}
"""The columns of pm_file besides its key."""
LONGEST_TEXT = 8_000
"""Most characters of a text; what a longer reason says beyond them is in the ledger and in the logs."""
CLOCK_DIFFERENCE_S = 30
"""Services whose clocks differ less than this still tell the stages of a file in the right order."""
STAGE_RANK: Mapping[Stage, int] = {
    "found": 0, "fetching": 1, "postponed": 1, "parsed": 2, "failed": 2, "done": 3, "error": 3, "lost": 3,
}  # fmt: skip


def file_status(value: bytes | None) -> FileStatus | None:
    """Returns the status in a record of the ledger; None for everything else, removed files included.

    Raises:
        BadMessage: the bytes are not a valid record of the ledger.
    """
    found = decode_status(value) if value is not None else None
    return found if isinstance(found, FileStatus) else None


KEPT_STATUSES = KeptTopic(FILES_STATUS.name, file_status, gather_s=2.0, most_records=2_000)


def status_order(status: FileStatus) -> int:
    """Returns the order of a file's statuses in milliseconds: by their times, with a head start for later stages."""
    return int((status.at_s + CLOCK_DIFFERENCE_S * STAGE_RANK[status.stage]) * 1000)


def file_cells(status: FileStatus) -> dict[str, Any]:
    """Returns the cells of a status by column, those of the key included."""
    found: dict[str, Any] = {"ver": version_of(status.file_id, status.mtime_s)}
    for name in ("system", "file_id", *PLACE_COLUMNS, *STATE_COLUMNS, *FIGURE_COLUMNS):
        value = getattr(status, name)
        found[name] = value[:LONGEST_TEXT] if isinstance(value, str) else value
    return found | {column: _time(getattr(status, field)) for column, field in TIME_COLUMNS.items()}


def _time(seconds: float) -> datetime | None:
    """Returns a time, or None if it is 0, which means unknown, or outside of the years that both databases store."""
    if not 0 < seconds < 2**32:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(seconds * 1000))


def kept_statuses(statuses: Iterable[FileStatus], retention_days: Callable[[str], int | None]) -> Iterator[FileStatus]:
    """Yields the statuses that are young enough for the retention of their system, so that no dropped row comes back.

    `retention_days` returns a system's retention, by its name.
    """
    for status in statuses:
        oldest = oldest_kept(retention_days(status.system))
        if oldest is None or status.at_s >= oldest.timestamp():
            yield status


def oldest_kept(retention_days: int | None) -> datetime | None:
    """Returns the time before which rows of pm_file are dropped; None if none are."""
    first = first_kept_day(datetime.now(UTC).date(), retention_days)
    return datetime.combine(first, time(), UTC) if first else None
