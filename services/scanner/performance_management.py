"""PerformanceManagement: one system's cycles, while this scanner leads it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from time import time
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from services.scanner import metrics
from services.scanner.file_producer import FileProducer
from services.scanner.leader import Leadership, Term
from shared.health import Heartbeat
from shared.inventory import Endpoint
from shared.settings import BadSettings, Schedule

log = logging.getLogger(__name__)
LOOK_S = 0.5
"""How often a waiting leader looks whether its term or the process ends."""


def next_run_s(schedule: str, after_s: float, zone: str = "UTC") -> float:
    """When a cron of 6 fields, seconds first, is due next.

    Where clocks change, as Debian's cron does: an interval goes on evenly, a fixed time comes once.

    >>> next_run_s("50 */5 * * * *", 0.0)
    50.0
    """
    return next(CronSim(schedule, datetime.fromtimestamp(after_s, ZoneInfo(zone)))).timestamp()


def run_after_s(schedule: str, was_due_s: float, now_s: float, zone: str = "UTC") -> float:
    """When to scan after a scan that was due then: runs missed meanwhile are caught up once, at once.

    >>> run_after_s("50 */5 * * * *", 50.0, now_s=1000.0)
    1000.0
    """
    return max(next_run_s(schedule, was_due_s, zone), now_s)


@dataclass
class PerformanceManagement:
    """Leads one system, or waits to."""

    system: str
    schedule: Schedule
    leadership: Leadership
    files: FileProducer
    inventory: Callable[[], Mapping[str, Endpoint]]
    catch_up: Callable[[Event], None]
    heartbeat: Heartbeat
    stopping: Event = field(default_factory=Event)
    term: Term | None = None

    def run(self) -> None:
        """Until stopped."""
        self.leadership.tell(self.system, state="standby", since_s=time())
        while not self.stopping.is_set():
            self.leadership.hold(self.system, self._lead, self.stopping, self.heartbeat.progress)
            _forget(self.system)
            self.heartbeat.progress()

    def stop(self) -> None:
        """Ends `run`; a scan under way announces nothing more."""
        self.stopping.set()
        if self.term is not None:
            self.term.over.set()

    def _lead(self, term: Term) -> None:
        self.term, since_s = term, time()
        self.leadership.tell(self.system, state="leading", epoch=term.epoch, since_s=since_s)
        metrics.LEADING.labels(self.system).set(1)
        self.catch_up(term.over)
        due_s = time() + self.schedule.immediate_run_delay_s
        while self._waited_until(due_s, term):
            summary = self._scan(term)
            scanned = {"scanned_s": time(), **summary}
            self.leadership.tell(self.system, state="leading", epoch=term.epoch, since_s=since_s, **scanned)
            due_s = run_after_s(self.schedule.schedule_scan, due_s, time(), self.schedule.time_zone)
        if not self.stopping.is_set():
            self.leadership.tell(self.system, state="standby", since_s=time())

    def _waited_until(self, due_s: float, term: Term) -> bool:
        """False when the term or the process ended before."""
        while not self.stopping.is_set():
            self.heartbeat.progress()
            left_s = due_s - time()
            if term.over.wait(max(0.0, min(left_s, LOOK_S))):
                return False
            if left_s <= LOOK_S:
                return True
        return False

    def _scan(self, term: Term) -> Mapping[str, Any]:
        try:
            endpoints = self.inventory()
        except BadSettings as error:
            log.error("not scanned", extra={"system": self.system, "reason": str(error)})  # noqa: TRY400 - says it all
            return {"reason": str(error)}
        summary = self.files.scan(endpoints, term)
        _count(self.system, summary)
        return summary


def _count(system: str, summary: Mapping[str, Any]) -> None:
    """A scan, as `FileProducer.scan` tells of it."""
    metrics.SCANNED.labels(system).set_to_current_time()
    metrics.SCAN_SECONDS.labels(system).observe(summary["took_s"])
    metrics.ANNOUNCED.labels(system).inc(summary["announced"])
    metrics.ELEMENTS.labels(system).set(summary["elements"])
    metrics.UNREACHABLE.labels(system).set(summary["unreachable"])
    metrics.HELD_BACK.labels(system).set(summary["held_back"])
    metrics.IN_FLIGHT.labels(system, "fetchers").set(summary["waiting_for_fetchers"])
    metrics.IN_FLIGHT.labels(system, "sinks").set(summary["waiting_for_sinks"])
    metrics.LEFT.remove_by_labels({"system": system})
    for reason, files in summary["left"].items():
        metrics.LEFT.labels(system, reason).set(files)


def _forget(system: str) -> None:
    """What the last scan found is another scanner's to tell now."""
    metrics.LEADING.labels(system).set(0)
    for gauge in (metrics.ELEMENTS, metrics.UNREACHABLE, metrics.HELD_BACK, metrics.IN_FLIGHT, metrics.LEFT):
        gauge.remove_by_labels({"system": system})
