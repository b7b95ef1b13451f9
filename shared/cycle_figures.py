"""The message of pm.cycles: the figures of one cycle, which is one period of one system."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from shared.messages import BadMessage, CalendarTime, ClockTime, Count, Int64, Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFigures(Message):
    """The figures of the files of one cycle; a newer message replaces an older one."""

    kind: ClassVar[str] = "cycle-figures"
    system: str
    end_s: CalendarTime
    """End of the period, seconds since 1970 UTC."""
    told_s: ClockTime
    """Time at which the tracker computed these figures; the newest ones are valid."""
    expected: Count
    """Number of entries in the inventory."""
    missing: list[str]
    """Expected elements without any file of this period."""
    elements: Count
    """Number of elements with a file; smaller than the number of files if one has several."""
    found: Count
    """Number of files that were announced, whatever their stage now."""
    late: Count
    """Files first announced after the cycle was closed."""
    fetched: Count
    """Files downloaded completely."""
    parsed: Count
    stored: dict[str, Count]
    """Number of files that each sink has stored."""
    done: Count
    error: Count
    lost: Count
    postponed: Count
    quarantined: Count
    """Files with values that the parser quarantined or a sink set aside; their other values are stored."""
    bytes: Count
    batches: Count
    """Number of messages in the counters topic."""
    rows: Count
    suspect: Count
    """Rows that their element flagged as suspect."""
    values: Count
    """Number of values in the counters topic."""
    values_stored: dict[str, Int64]
    """Number of values that each sink has stored, without those that it set aside."""
    values_set_aside: dict[str, Count]
    """Number of values that each sink set aside."""
    values_quarantined: Count
    """Number of values that the parser quarantined."""
    values_dropped: Count
    retries: Count
    """Announcements and downloads after the first of each file."""
    latency_s: dict[str, list[float]]
    """Seconds from the end of the period until found, fetched, parsed, stored: 50th and 95th percentile, maximum."""
    took_s: float
    """Seconds from the first announcement to the last file stored."""

    @property
    def rates(self) -> dict[str, float]:
        """Rates computed from the counts: throughput, mean size of a batch, shares."""
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
