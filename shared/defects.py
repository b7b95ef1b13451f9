"""Unplanned errors: records are tried once more in isolation, then set aside; too many of them end the process.

See docs/decisions/0013-unplanned-errors.md.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from time import monotonic
from traceback import format_exception
from typing import Generic, TypeVar

from shared import metrics
from shared.errors import Hopeless, MustExit, Unreachable
from shared.kafka.record import KafkaFailure
from shared.messages import BadMessage
from shared.settings import BadSettings, DefectLimits

Work = TypeVar("Work")
log = logging.getLogger(__name__)
NO_RECORDS_FAULT = (Unreachable, KafkaFailure, MustExit)
"""Errors that no record causes: nothing may be set aside because of them."""
PLANNED = (*NO_RECORDS_FAULT, Hopeless, BadMessage, BadSettings)
"""Errors that the code expects and handles by itself; every other exception is a defect."""
REASON = "defect"


class TooManyDefects(MustExit):
    """The service is broken, not its input: the process must end without setting anything more aside."""


@dataclass(frozen=True, slots=True)
class Defect:
    """An unplanned exception that came again when the record was tried alone."""

    error: Exception

    @property
    def reason(self) -> str:
        """Returns `defect`, with the exception in one line."""
        return f"{REASON}: {type(self.error).__name__}: {self.error}"

    @property
    def traceback(self) -> str:
        return "".join(format_exception(self.error))


@dataclass
class DefectBudget:
    """Limits how many records a process may set aside because of defects; may be shared by threads."""

    most: int = 10
    within_s: float = 600.0
    clock_s: Callable[[], float] = monotonic
    spent_s: deque[float] = field(default_factory=deque, init=False)
    lock: RLock = field(default_factory=RLock, init=False)

    def spend(self, defect: Defect) -> None:
        """Counts one record.

        Raises:
            TooManyDefects: there were more than `most` within `within_s`.
        """
        with self.lock:
            now_s = self.clock_s()
            while self.spent_s and self.spent_s[0] <= now_s - self.within_s:
                self.spent_s.popleft()
            if len(self.spent_s) >= self.most:
                raise TooManyDefects(
                    f"more than {self.most} defects within {self.within_s:.0f} s, the last: {defect.reason}"
                ) from defect.error
            self.spent_s.append(now_s)


def budget_of(limits: DefectLimits) -> DefectBudget:
    """Returns the budget of a process by its settings."""
    return DefectBudget(limits.most, limits.within_s)


def nothing_to_renew() -> None:
    """Serves as `renew` for work without caches and connections."""


@dataclass(frozen=True, slots=True)
class Contained(Generic[Work]):
    """Handles records so that one on which the code fails stops no other.

    The first failure may be of passing state: `renew` discards caches and connections, and all are tried once more.
    Then they are split until the records that fail alone are known.
    """

    handle: Callable[[Sequence[Work]], None]
    """Handles records together; to handle one again must change nothing."""
    renew: Callable[[], None]
    set_aside: Callable[[Work, Defect], None]
    """Makes the record durable elsewhere; raises Unreachable."""
    budget: DefectBudget
    origin: Callable[[Work], str]
    """Returns topic/partition/offset, for the log."""
    planned: tuple[type[Exception], ...] = PLANNED
    """Errors that pass through, as they are no defects here."""
    is_known: Callable[[Work], bool] = lambda _: False
    """Returns True for a record that an earlier process set aside; it is passed over and costs no budget.

    A reader that starts at the beginning of a topic meets such records again.
    """

    def __call__(self, records: Sequence[Work]) -> None:
        """Handles the records, or sets aside those on which the code fails.

        Raises:
            TooManyDefects: the budget is exhausted.
            Hopeless, Unreachable, BadMessage, KafkaFailure: those in `planned`, as `handle` raises them.
        """
        try:
            self.handle(records)
        except self.planned:
            raise
        except Exception:
            log.warning("unexpected error, records tried once more", extra=self._where(records), exc_info=True)
            self.renew()
            self._isolate(records)

    def _isolate(self, records: Sequence[Work]) -> None:
        try:
            self.handle(records)
        except self.planned:
            raise
        except Exception as error:  # noqa: BLE001 - every exception that nobody planned for
            self.renew()
            if len(records) > 1:
                middle = len(records) // 2
                self._isolate(records[:middle])
                self._isolate(records[middle:])
            else:
                self._give_up(records[0], Defect(error))

    def _give_up(self, record: Work, defect: Defect) -> None:
        if self.is_known(record):
            log.warning("record passed over after a defect, set aside earlier", extra={"origin": self.origin(record)})
            return
        with self.budget.lock:  # a process that must exit has finished what other threads are setting aside
            self.budget.spend(defect)
            self.set_aside(record, defect)
        metrics.DEFECTS.inc()
        log.error("record set aside after a defect", extra={"origin": self.origin(record)}, exc_info=defect.error)

    def _where(self, records: Sequence[Work]) -> dict[str, object]:
        return {"records": len(records), "first": self.origin(records[0]) if records else ""}
