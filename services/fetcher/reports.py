"""Reports what became of files: metrics and log lines."""

import logging
from collections.abc import Mapping

from services.fetcher import metrics, reasons
from services.fetcher.assemble.result import Counts, Parsed
from shared.messages import FileFound, FileStatus

log = logging.getLogger(__name__)


def report_processed(status: FileStatus, took_s: float) -> None:
    """Counts and logs a file whose status is durable."""
    _count(status, took_s)
    _log_processed(status, took_s)


def count_rows(parsed: Parsed) -> None:
    """Observes the sizes of a file's messages."""
    for batch in parsed.batches:
        metrics.MESSAGE_ROWS.observe(batch.rows)


def report_mistyped(file: FileFound, counters: Mapping[str, int]) -> None:
    """Counts and logs stored values whose type is not the declared one."""
    if not counters:
        return
    values = sum(counters.values())
    metrics.MISTYPED.labels(file.system).inc(values)
    most = sorted(counters, key=lambda name: -counters[name])[:5]
    extra = {"file": file.file_id, "system": file.system, "values": values, "counters": len(counters), "most": most}
    log.warning("values not of the declared type", extra=extra)


def _log_processed(status: FileStatus, took_s: float) -> None:
    levels = {"failed": logging.ERROR, "lost": logging.ERROR, "postponed": logging.WARNING}
    log.log(
        levels.get(status.stage, logging.INFO),
        "file processed",
        extra={
            "file": status.file_id,
            "system": status.system,
            "element": status.element,
            "path": status.path,
            "stage": status.stage,
            "reason": status.reason,
            "bytes": status.size,
            "values": status.values,
            "took_s": round(took_s, 3),
        },
    )


def _count(status: FileStatus, took_s: float) -> None:
    metrics.PROCESSED.labels(status.system, status.stage).inc()
    metrics.FILE_SECONDS.labels(status.system).observe(took_s)
    if status.stage == "lost":
        metrics.LOST.labels(status.system).inc()
    if status.stage == "parsed":
        metrics.FETCHED_BYTES.labels(status.system).inc(status.size)


def count_values(system: str, counts: Counts) -> None:
    """Counts the values of a file by outcome and reason."""
    metrics.VALUES.labels(system, "value", "").inc(counts.values)
    metrics.VALUES.labels(system, "null", "").inc(counts.nulls)
    for reason, values in counts.reasons.items():
        outcome = "dropped" if reason in reasons.DROPPED else "quarantined"
        metrics.VALUES.labels(system, outcome, reason).inc(values)
