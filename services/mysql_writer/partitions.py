"""Day partitions of a table: those it must have, and those that are too old. Pure: no database access.

A partition is named after its day and holds the rows before the next day that no earlier partition holds. Therefore a
late row always has a partition: the oldest one, which is dropped only when the day in its name is too old. Rows beyond
the days created ahead (a wrong clock, or a writer that was down for days) are in the last partition, `later`, until it
is split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from shared.sinks.retention import first_kept_day

DAYS_AHEAD = 3
DAYS_BEHIND = 7
"""Partitions of past days that a new table gets, as elements may have a backlog of some days."""
LATER = "later"
"""Name of the last partition, which has no upper limit."""
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """The day partitions to create and to drop."""

    create: list[date] = field(default_factory=list)
    drop: list[date] = field(default_factory=list)


def initial_days(today: date, behind: int) -> list[date]:
    """Returns the days of a table that is partitioned today."""
    return _days(today - timedelta(days=behind), today + timedelta(days=DAYS_AHEAD))


def partition_plan(present: Sequence[date], today: date, retention_days: int) -> PartitionPlan:
    """Returns what must change in the day partitions of a table.

    Args:
        present: the days of its partitions without `later`; at least one.
        today: today's date in UTC.
        retention_days: 0 drops nothing.
    """
    first = first_kept_day(today, retention_days)
    begin = max(present) + ONE_DAY if first is None else max(max(present) + ONE_DAY, first)
    return PartitionPlan(
        _days(begin, today + timedelta(days=DAYS_AHEAD)),
        [] if first is None else [day for day in sorted(present) if day < first],
    )


def _days(first: date, last: date) -> list[date]:
    return [first + n * ONE_DAY for n in range((last - first).days + 1)]


def partition_name(day: date) -> str:
    """Returns the name of a day's partition."""
    return f"d{day:%Y%m%d}"


def partition_day(partition: str) -> date | None:
    """Returns the day in a partition's name; None for `later` and for partitions that pmflow did not create.

    >>> partition_day("d20231114")
    datetime.date(2023, 11, 14)
    """
    try:
        return datetime.strptime(partition, "d%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def partition_list(days: Sequence[date]) -> str:
    """Returns the SQL list of these day partitions followed by `later`."""
    parts = [f"PARTITION {partition_name(day)} VALUES LESS THAN ('{day + ONE_DAY}')" for day in days]
    return f"({', '.join([*parts, f'PARTITION {LATER} VALUES LESS THAN (MAXVALUE)'])})"


def partition_clause(days: Sequence[date]) -> str:
    """Returns the clause that partitions a table by these days, for CREATE TABLE and ALTER TABLE."""
    return f" PARTITION BY RANGE COLUMNS (ts) {partition_list(days)}"
