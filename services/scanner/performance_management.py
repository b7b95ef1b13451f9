"""PerformanceManagement: scans one system on its schedule while this scanner leads it."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event
from time import monotonic, time
from zoneinfo import ZoneInfo

from cronsim import CronSim

from services.scanner import metrics
from services.scanner.file_producer import FileProducer, outcomes
from services.scanner.leader import Leadership, Term
from services.scanner.state import ScanSummary, SystemState
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.inventory import Endpoint
from shared.settings import BadSettings, Schedule

log = logging.getLogger(__name__)
TERM_CHECK_S = 0.5
"""Interval at which a waiting leader checks whether its term or the process has ended."""


def next_run_s(schedule: str, after_s: float, zone: str = "UTC") -> float:
    """Returns the next time a cron of 6 fields (seconds first) is due.

    A change to or from daylight saving time is handled as in Debian's cron: an interval continues evenly, a fixed time
    comes once.

    >>> next_run_s("50 */5 * * * *", 0.0)
    50.0
    """
    return next(CronSim(schedule, datetime.fromtimestamp(after_s, ZoneInfo(zone)))).timestamp()


def run_after_s(schedule: str, was_due_s: float, now_s: float, zone: str = "UTC") -> float:
    """Returns when to scan after a scan that was due at `was_due_s`: all runs missed since are made up by one, at once.

    If the clock was set back since, the schedule continues from the present time.

    >>> run_after_s("50 */5 * * * *", 50.0, now_s=1000.0)
    1000.0
    """
    after_s = now_s if was_due_s > now_s + TERM_CHECK_S else was_due_s
    return max(next_run_s(schedule, after_s, zone), now_s)


@dataclass(frozen=True, slots=True)
class WaitForScan:
    """A wait for a time of the wall clock, which a clock that is set back does not prolong."""

    due_s: float
    latest_s: float
    """Time of the monotonic clock at which the wait ends in any case."""

    def left_s(self, now_s: float, monotonic_s: float) -> float:
        """Returns the time that is left to wait."""
        return min(self.due_s - now_s, self.latest_s - monotonic_s)


@dataclass
class PerformanceManagement:
    """Leads one system, or waits for its leadership."""

    system: str
    schedule: Schedule
    leadership: Leadership
    files: FileProducer
    inventory: Callable[[], Mapping[str, Endpoint]]
    catch_up: Callable[[Event], None]
    highest_epoch: Callable[[str], int]
    """Returns the highest epoch of a system in the ledger, once `catch_up` has returned."""
    heartbeat: Heartbeat
    stopping: Event = field(default_factory=Event)
    term: Term | None = None

    def run(self) -> None:
        """Leads or waits until stopped."""
        self._report_standby()
        while not self.stopping.is_set():
            self.leadership.hold(self.system, self._lead, self.stopping, self.heartbeat.progress)
            self._disconnect()
            _clear_gauges(self.system)
            self.heartbeat.progress()

    def stop(self) -> None:
        """Ends `run`. A scan in progress announces nothing more."""
        self.stopping.set()
        if self.term is not None:
            self.term.over.set()

    def _lead(self, term: Term) -> None:
        self.term, since_s = term, time()
        leading = SystemState(system=self.system, state="leading", epoch=term.epoch, since_s=since_s)
        self.leadership.report(leading)
        metrics.LEADING.labels(self.system).set(1)
        self.catch_up(term.over)
        try:
            term = self.leadership.raised(self.system, term, self.highest_epoch(self.system))
        except Unreachable as error:
            log.warning("leadership given up", extra={"system": self.system, "reason": str(error)})
            return
        leading = replace(leading, epoch=term.epoch)
        due_s = time() + self.schedule.immediate_run_delay_s
        while self._waited_until(due_s, term):
            self.leadership.report(replace(self._scanned(leading, term, due_s), scanned_s=time()))
            due_s = run_after_s(self.schedule.schedule_scan, due_s, time(), self.schedule.time_zone)
        if not self.stopping.is_set():
            self._report_standby()

    def _disconnect(self) -> None:
        """Closes the unused sessions with the system's hosts: the next leader may be another process."""
        with suppress(BadSettings):
            hosts = {endpoint.address for endpoint in self.inventory().values()}
            self.files.elements.close_idle(lambda endpoint: endpoint.address in hosts)

    def _waited_until(self, due_s: float, term: Term) -> bool:
        """Returns True at the due time, False if the term or the process ended before it."""
        wait = WaitForScan(due_s, latest_s=monotonic() + due_s - time())
        while not self.stopping.is_set():
            self.heartbeat.progress()
            left_s = wait.left_s(time(), monotonic())
            if term.over.wait(max(0.0, min(left_s, TERM_CHECK_S))):
                return False
            if left_s <= TERM_CHECK_S:
                return True
        return False

    def _report_standby(self) -> None:
        self.leadership.report(SystemState(system=self.system, state="standby", since_s=time()))

    def _scanned(self, leading: SystemState, term: Term, due_s: float) -> SystemState:
        """Scans the system and returns its state with the result, or with the reason why it was not scanned."""
        try:
            endpoints = self.inventory()
        except BadSettings as error:
            log.error("system not scanned", extra={"system": self.system, "reason": str(error)})  # noqa: TRY400 - the reason suffices
            return replace(leading, reason=str(error))
        next_s = next_run_s(self.schedule.schedule_scan, due_s, self.schedule.time_zone)
        summary = self.files.scan(endpoints, term, self.heartbeat.progress, next_s)
        _set_metrics(self.system, summary)
        return replace(leading, scan=summary)


def _set_metrics(system: str, summary: ScanSummary) -> None:
    metrics.SCANNED.labels(system).set_to_current_time()
    metrics.SCAN_SECONDS.labels(system).observe(summary.took_s)
    metrics.ANNOUNCED.labels(system).inc(summary.announced)
    for outcome, files in outcomes(summary).items():
        metrics.FILES_SCANNED.labels(system, outcome).inc(files)
    metrics.ELEMENTS.labels(system).set(summary.elements)
    metrics.UNREACHABLE.labels(system).set(summary.unreachable)
    metrics.NOT_TRIED.labels(system).set(summary.not_tried)
    metrics.HELD_BACK.labels(system).set(summary.held_back)
    metrics.IN_FLIGHT.labels(system, "fetchers").set(summary.waiting_for_fetchers)
    metrics.IN_FLIGHT.labels(system, "sinks").set(summary.waiting_for_sinks)
    metrics.LEFT.remove_by_labels({"system": system})
    for reason, files in summary.left.items():
        metrics.LEFT.labels(system, reason).set(files)


def _clear_gauges(system: str) -> None:
    """Removes the results of the last scan: from now on another scanner reports them."""
    metrics.LEADING.labels(system).set(0)
    results = (metrics.ELEMENTS, metrics.UNREACHABLE, metrics.NOT_TRIED, metrics.HELD_BACK)
    for gauge in (*results, metrics.IN_FLIGHT, metrics.LEFT):
        gauge.remove_by_labels({"system": system})
