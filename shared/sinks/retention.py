"""Retention in whole days (UTC): rows older than their system's retention are neither kept nor stored again."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import inf
from typing import Final

from shared.messages import CounterBatch
from shared.sinks import metrics
from shared.sinks.rules import StorageRules

log = logging.getLogger(__name__)
TOO_OLD: Final = "older than retention-days"


def first_kept_day(today: date, retention_days: int | None) -> date | None:
    """Returns the first day that is kept, or None if the system has no retention: then every day is."""
    return today - timedelta(days=retention_days) if retention_days else None


def within_retention(
    batches: Sequence[CounterBatch], rules: Callable[[str], StorageRules], sink: str
) -> list[CounterBatch]:
    """Returns the batches whose day has not been dropped, so that a replay or a late file brings no dropped day back.

    Args:
        batches: of any systems.
        rules: returns the current rules of a system, by its name.
        sink: the sink's name, for the metric of dropped rows.
    """
    firsts_s = {system: _first_kept_s(rules(system).retention_days) for system in {batch.system for batch in batches}}
    found, dropped = [], Counter[str]()
    for batch in batches:
        if batch.end_s < firsts_s[batch.system]:
            dropped[batch.system] += len(batch.rows)
        else:
            found.append(batch)
    for system, rows in dropped.items():
        metrics.ROWS_DROPPED.labels(sink, system, TOO_OLD).inc(rows)
        log.warning("rows dropped", extra={"system": system, "rows": rows, "reason": TOO_OLD})
    return found


def _first_kept_s(retention_days: int | None) -> float:
    first = first_kept_day(datetime.now(UTC).date(), retention_days)
    return datetime.combine(first, time(), UTC).timestamp() if first else -inf
