"""Reports what became of batches: stored ones are counted and logged, those set aside get records for the ledger."""

import logging
from collections.abc import Sequence
from threading import get_ident
from time import time

from shared.health import OBSTACLES
from shared.kafka.record import Record
from shared.messages import BadMessage, CounterBatch, SetAside, bounded_text
from shared.sinks import metrics
from shared.versions import content_digest

log = logging.getLogger(__name__)


def set_aside_records(sink: str, record: Record, content: bytes, reason: str) -> list[SetAside]:
    """Returns the records for the ledger; none if the message names no file."""
    try:
        batch = CounterBatch.decode(content)
    except BadMessage:
        return []
    return [
        SetAside(
            sink=sink,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            file_id=batch.file_id,
            element=bounded_text(batch.element),
            values=batch.values,
            reason=reason,
            at_s=time(),
            content=content_digest(content),
        )
    ]


def report_waiting(sink: str, reason: str, wait_s: float) -> None:
    """Reports that a writer waits for its database, for as long as `report_working` is not called in its thread."""
    metrics.WRITE_RETRIES.labels(sink).inc()
    OBSTACLES.report(f"{sink} {get_ident()}", f"{reason}; run `pmflow doctor` to find out what is wrong")
    log.warning("waiting for the database", extra={"sink": sink, "reason": reason, "wait_s": wait_s})


def report_working(sink: str) -> None:
    """Reports that the database of a writer has answered."""
    OBSTACLES.report(f"{sink} {get_ident()}", "")


def report_stored(sink: str, stored: Sequence[CounterBatch], took_s: float) -> None:
    """Counts and logs one write; the log line names the files, so that each can be traced to its rows."""
    rows = 0
    for batch in stored:
        labels = sink, batch.system
        metrics.STORED_BATCHES.labels(*labels).inc()
        metrics.STORED_ROWS.labels(*labels).inc(len(batch.rows))
        metrics.STORED_VALUES.labels(*labels).inc(len(batch.rows) * len(batch.counters))
        rows += len(batch.rows)
    if stored:
        metrics.WRITE_BATCHES.labels(sink).observe(len(stored))
        metrics.WRITE_ROWS.labels(sink).observe(rows)
        files = sorted({batch.file_id for batch in stored})
        sizes = {"batches": len(stored), "rows": rows, "took_s": round(took_s, 3)}
        log.info("stored", extra={"sink": sink, "files": files, **sizes})
