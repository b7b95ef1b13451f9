"""SystemManager: starts every configured system, applies changes of the configuration, and stops all systems."""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from time import time

from cronsim import CronSimError

from services.scanner.file_producer import FileProducer
from services.scanner.inventory import Inventory
from services.scanner.leader import Leadership
from services.scanner.ledger import LedgerFollower
from services.scanner.performance_management import PerformanceManagement, next_run_s
from services.scanner.rules import FileRules
from services.scanner.settings import ScannerSettings, zookeeper_of
from services.scanner.state import SystemState
from shared.backoff import backoff_s
from shared.crash import exit_on_error
from shared.defects import budget_of
from shared.health import Heartbeat
from shared.kafka.produce import Producer
from shared.remote.connection_shares import ConnectionShares
from shared.remote.service_manager import FtpServiceManager
from shared.settings import BadSettings, Schedule, Settings, System, load
from shared.watch import Watch

log = logging.getLogger(__name__)
STOP_TIMEOUT_S = 15.0
"""Longest wait for the thread of a system to end. It may be abandoned, as its work can be repeated."""
FIRST_RESTART_WAIT_S = 5.0
"""First wait before a failed system is started again; doubles, up to the longest one."""
LONGEST_RESTART_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """Everything that the work of a system depends on; if it changes, the system is restarted."""

    system: System
    schedule: Schedule


def system_plans(settings: Settings) -> dict[str, SystemPlan]:
    return {system.name: SystemPlan(system, settings.schedule) for system in settings.systems}


def changes(running: Mapping[str, SystemPlan], wanted: Mapping[str, SystemPlan]) -> tuple[list[str], list[str]]:
    """Returns the names of the systems to stop and to start. A changed one is in both; all others are undisturbed."""
    stop = sorted(name for name, plan in running.items() if wanted.get(name) != plan)
    start = sorted(name for name, plan in wanted.items() if running.get(name) != plan)
    return stop, start


def check_configuration(settings: Settings, own: ScannerSettings, systems: Iterable[System]) -> None:
    """Checks that the scanner can work with a configuration.

    Raises:
        BadSettings: a schedule, a pattern, an inventory or a rollout that cannot be used.
    """
    try:
        next_run_s(settings.schedule.schedule_scan, time(), settings.schedule.time_zone)
    except (CronSimError, StopIteration) as error:
        given = settings.schedule.schedule_scan
        raise BadSettings(f"spring.pm.cron.schedule-scan: {given!r} is not a cron of 6 fields: {error}") from error
    for system in systems:
        FileRules(system, own.temporary_suffixes)
        Inventory(system).read()


class SystemRun:
    """The thread of one system. An unexpected failure pauses this system and does not affect the others."""

    def __init__(
        self, plan: SystemPlan, work: PerformanceManagement, first_wait_s: float = FIRST_RESTART_WAIT_S
    ) -> None:
        self.plan = plan
        self.work = work
        self.first_wait_s = first_wait_s
        self.thread = Thread(target=self._run, name=plan.system.name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        failures = 0
        while not self.work.stopping.is_set():
            try:
                self.work.run()
            except Exception as error:
                failures += 1
                wait_s = backoff_s(failures, self.first_wait_s, LONGEST_RESTART_WAIT_S)
                log.exception("system failed, restarting", extra={"system": self.plan.system.name, "wait_s": wait_s})
                self.work.leadership.report(
                    SystemState(system=self.plan.system.name, state="failed", since_s=time(), reason=repr(error))
                )
                self.work.stopping.wait(wait_s)

    def ended(self) -> bool:
        """Stops the system; returns False if its thread has not ended in time."""
        self.work.stop()
        self.thread.join(STOP_TIMEOUT_S)
        return not self.thread.is_alive()


class SystemManager:
    """Owns everything that the systems share: the ledger, the producer, the sessions with elements and ZooKeeper."""

    def __init__(self, settings: Settings, own: ScannerSettings, read: Callable[[], Settings] = load) -> None:
        """Creates a manager that starts nothing yet.

        Args:
            settings: the configuration at the start.
            own: the section `scanner`.
            read: returns the current configuration.
        """
        brokers = settings.kafka
        self.own = own
        self.watch = Watch(settings, self._check, read)
        self.producer = Producer(brokers)
        self.ledger = LedgerFollower(brokers, self.producer, budget_of(settings.defects))
        self.shares = ConnectionShares(lambda: self.watch.settings)
        self.elements = FtpServiceManager(settings.elements, at_most_s=own.listing_s, limit=self.shares.scanner)
        self.leadership = Leadership(zookeeper_of(settings), f"{socket.gethostname()}-{os.getpid()}")
        self.heartbeat = Heartbeat(settings.health.file)
        self.runs: dict[str, SystemRun] = {}
        self.reported_refusal = ""

    def run(self, stop: Event) -> None:
        """Runs all systems until stopped."""
        following = Thread(target=self._follow, args=(stop,), daemon=True)
        following.start()
        self._apply(self.watch.settings)
        while not stop.wait(self.own.config_look_s):
            changed = self.watch.look()
            self.shares.refresh()
            if changed is not None:
                self._apply(changed)
            self._report_configuration()
        self._stop(list(self.runs))
        following.join(STOP_TIMEOUT_S)
        self.leadership.close()
        self.elements.close()
        self.producer.close()

    def _follow(self, stop: Event) -> None:
        with exit_on_error("follow the ledger"):
            self.ledger.follow(stop)

    def _check(self, settings: Settings) -> None:
        running = {run.plan.system for run in self.runs.values()}
        check_configuration(settings, self.own, [system for system in settings.systems if system not in running])

    def _apply(self, settings: Settings) -> None:
        wanted = system_plans(settings)
        stop, start = changes({name: run.plan for name, run in self.runs.items()}, wanted)
        self._stop(stop)
        for name in start:
            if name not in self.runs:
                self.runs[name] = SystemRun(wanted[name], self._performance_management(wanted[name]))
                log.info("system started", extra={"system": name, "restarted": name in stop})

    def _report_configuration(self) -> None:
        refused = self.watch.refused
        if refused and refused != self.reported_refusal:
            self.leadership.report(SystemState(system="configuration", state="refused", since_s=time(), reason=refused))
        elif self.reported_refusal and not refused:
            self.leadership.withdraw_report("configuration")
        self.reported_refusal = refused

    def _stop(self, names: Iterable[str]) -> None:
        for name in names:
            self.runs[name].work.stop()  # stop all of them first, then wait for each
        for name in names:
            ended = self.runs.pop(name).ended()
            self.leadership.withdraw_report(name)
            log.log(
                logging.INFO if ended else logging.WARNING,
                "system stopped" if ended else "system stopped, its last scan is still ending",
                extra={"system": name},
            )

    def _performance_management(self, plan: SystemPlan) -> PerformanceManagement:
        return PerformanceManagement(
            plan.system.name,
            plan.schedule,
            self.leadership,
            FileProducer(plan.system, self.own, self.elements, self.producer, self.ledger),
            Inventory(plan.system).current,
            self.ledger.catch_up,
            self.ledger.highest_epoch,
            self.heartbeat,
        )
