"""Day partitions of a table: which it must have, and which are too old. Pure: no database in here.

A partition is called after its day, and holds what is before the next day and in no partition before it. So a late row
always has a place: the oldest partition, which goes no sooner than the day it is called after does. What lies beyond
the days made ahead (a clock that is wrong, a writer that was down for days) is in the last one, `later`, until it is
parted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from shared.sinks.retention import oldest

DAYS_AHEAD = 3
DAYS_BEHIND = 7
"""Of a new table: elements may hold a backlog of some days."""
LATER = "later"
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a table lacks, and what of it goes."""

    make: list[date] = field(default_factory=list)
    drop: list[date] = field(default_factory=list)


def new(today: date, behind: int) -> list[date]:
    """The days of a table that is made today."""
    return _days(today - timedelta(days=behind), today + timedelta(days=DAYS_AHEAD))


def plan(there: Sequence[date], today: date, retention_days: int) -> Plan:
    """The day partitions of a table as they must be.

    Args:
        there: those it has, but for `later`; at least one.
        today: of UTC.
        retention_days: 0 drops none.
    """
    first = oldest(today, retention_days)
    begin = max(there) + DAY if first is None else max(max(there) + DAY, first)
    return Plan(
        _days(begin, today + timedelta(days=DAYS_AHEAD)),
        [] if first is None else [day for day in sorted(there) if day < first],
    )


def _days(first: date, last: date) -> list[date]:
    return [first + n * DAY for n in range((last - first).days + 1)]


def day_of(partition: str) -> date | None:
    """The day a partition is called after; None for one that is not of our making, and for `later`.

    >>> day_of("d20231114")
    datetime.date(2023, 11, 14)
    """
    try:
        return datetime.strptime(partition, "d%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def listed(days: Sequence[date]) -> str:
    """The partitions in SQL, with `later`."""
    parts = [f"PARTITION {name(day)} VALUES LESS THAN ('{day + DAY}')" for day in days]
    return f"({', '.join([*parts, f'PARTITION {LATER} VALUES LESS THAN (MAXVALUE)'])})"


def name(day: date) -> str:
    """Of a day's partition."""
    return f"d{day:%Y%m%d}"


def partitioned(days: Sequence[date]) -> str:
    """The clause of a table."""
    return f" PARTITION BY RANGE COLUMNS (ts) {listed(days)}"
