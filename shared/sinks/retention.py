"""Retention: whole days, by UTC; what is older than a system's is not kept, and neither stored again."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import inf
from typing import Final

from shared.messages import CounterBatch
from shared.sinks import metrics

log = logging.getLogger(__name__)
TOO_OLD: Final = "older than retention-days"


def oldest(today: date, retention_days: int) -> date | None:
    """The first day that is kept; all are without a retention."""
    return today - timedelta(days=retention_days) if retention_days else None


def kept(batches: Sequence[CounterBatch], retention_days: Callable[[str], int], sink: str) -> list[CounterBatch]:
    """Those whose day is not dropped yet: a replay or a late file brings back none that is.

    `retention_days`: of a system, by its name.
    """
    firsts_s = {system: _oldest_s(retention_days(system)) for system in {batch.system for batch in batches}}
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


def _oldest_s(retention_days: int) -> float:
    first = oldest(datetime.now(UTC).date(), retention_days)
    return datetime.combine(first, time(), UTC).timestamp() if first else -inf
