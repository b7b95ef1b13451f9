"""The message of pm.cycles: what became of the files of one period in one system."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from shared.messages import BadMessage, ClockTime, Count, Int64, Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFigures(Message):
    """What became of the files of one period in one system; a newer message replaces an older one."""

    kind: ClassVar[str] = "cycle-figures"
    system: str
    end_s: Int64
    """End of the period, seconds since 1970 UTC."""
    told_s: ClockTime
    """When these figures were made; the newest ones count."""
    expected: Count
    """Entries of the inventory."""
    missing: list[str]
    """Those without any file of this period."""
    elements: Count
    """That brought a file; fewer than files when one brought several."""
    found: Count
    """Files; each in whatever stage it is now."""
    late: Count
    """Announced first after the cycle was closed."""
    fetched: Count
    """Downloaded whole."""
    parsed: Count
    stored: dict[str, Count]
    """Sink -> files that it is beyond."""
    done: Count
    error: Count
    lost: Count
    postponed: Count
    quarantined: Count
    """Files with values set aside, by the parser or by a sink; their other values landed."""
    bytes: Count
    batches: Count
    """Messages in the counters topic."""
    rows: Count
    suspect: Count
    """Of the rows, flagged by their element."""
    values: Count
    """In the counters topic."""
    values_stored: dict[str, Int64]
    """Sink -> without what it set aside."""
    values_set_aside: dict[str, Count]
    """Sink -> in its dead letters."""
    values_quarantined: Count
    """By the parser."""
    values_dropped: Count
    retries: Count
    """Announcements and downloads beyond the first of each file."""
    latency_s: dict[str, list[float]]
    """From the end of the period until found, fetched, parsed, stored: 50th and 95th percentile, maximum."""
    took_s: float
    """From the first file announced to the last one stored."""

    @property
    def rates(self) -> dict[str, float]:
        """What follows from the counts: throughput, mean size of a batch, shares."""
        return {
            "files_per_s": _share(self.found, self.took_s),
            "values_per_s": _share(self.values, self.took_s),
            "bytes_per_s": _share(self.bytes, self.took_s),
            "rows_per_batch": _share(self.rows, self.batches),
            "suspect_share": _share(self.suspect, self.rows),
            "error_share": _share(self.error, self.found),
            "retries_per_file": _share(self.retries, self.found),
        }


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def readable(values: Iterable[bytes | None]) -> Iterator[CycleFigures]:
    """Decodes the values of pm.cycles; one that cannot be read costs itself, as the sinks set it aside."""
    for value in values:
        try:
            yield CycleFigures.decode(value or b"")
        except BadMessage as error:
            log.warning("cycle figures not readable", extra={"reason": str(error)})
