"""PerformanceManagement: one system's cycles, while this scanner leads it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from time import time
from zoneinfo import ZoneInfo

from cronsim import CronSim

from services.scanner.file_producer import FileProducer
from services.scanner.leader import Leadership, Term
from shared.health import Heartbeat
from shared.inventory import Endpoint
from shared.settings import BadSettings, Schedule

log = logging.getLogger(__name__)
LOOK_S = 0.5
"""How often a waiting leader looks whether its term or the process ends."""


def next_run_s(schedule: str, after_s: float, zone: str = "UTC") -> float:
    """When a cron of 6 fields, seconds first, is due next; missed times are not made up one by one.

    Where clocks change, as Debian's cron does: an interval goes on evenly, a fixed time comes once.

    >>> next_run_s("50 */5 * * * *", 0.0)
    50.0
    """
    return next(CronSim(schedule, datetime.fromtimestamp(after_s, ZoneInfo(zone)))).timestamp()


@dataclass(frozen=True)
class PerformanceManagement:
    """Leads one system, or waits to."""

    system: str
    schedule: Schedule
    leadership: Leadership
    files: FileProducer
    inventory: Callable[[], Mapping[str, Endpoint]]
    catch_up: Callable[[Event], None]
    heartbeat: Heartbeat

    def run(self, stop: Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            self.leadership.hold(self.system, lambda term: self._lead(term, stop), stop)

    def _lead(self, term: Term, stop: Event) -> None:
        self.catch_up(stop)
        due_s = time() + self.schedule.immediate_run_delay_s
        while self._waited_until(due_s, term, stop):
            self._scan(term)
            due_s = next_run_s(self.schedule.schedule_scan, time(), self.schedule.time_zone)

    def _waited_until(self, due_s: float, term: Term, stop: Event) -> bool:
        """False when the term or the process ended before."""
        while not stop.is_set():
            self.heartbeat.progress()
            left_s = due_s - time()
            if term.over.wait(max(0.0, min(left_s, LOOK_S))):
                return False
            if left_s <= LOOK_S:
                return True
        return False

    def _scan(self, term: Term) -> None:
        try:
            endpoints = self.inventory()
        except BadSettings as error:
            log.error("not scanned", extra={"system": self.system, "reason": str(error)})  # noqa: TRY400 - says it all
            return
        self.files.scan(endpoints, term)
