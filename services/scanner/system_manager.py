"""SystemManager: starts every configured system, follows the configuration, and stops them all."""

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
from services.scanner.ledger import Ledger
from services.scanner.performance_management import PerformanceManagement, next_run_s
from services.scanner.rules import Rules
from services.scanner.settings import ScannerSettings, zookeeper_of
from shared.backoff import backoff_s
from shared.crash import or_leave
from shared.health import Heartbeat
from shared.kafka.produce import Producer
from shared.remote.service_manager import FtpServiceManager
from shared.settings import BadSettings, Schedule, Settings, System, load
from shared.watch import Watch

log = logging.getLogger(__name__)
PATIENCE_S = 15.0
"""For a system's thread to end; what it does may be done again."""
AGAIN_S = 5.0
"""Before a system that failed is started again; doubles, up to LONGEST_AGAIN_S."""
LONGEST_AGAIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a system's work depends on: another plan, another run."""

    system: System
    schedule: Schedule


def plans(settings: Settings) -> dict[str, Plan]:
    return {system.name: Plan(system, settings.schedule) for system in settings.systems}


def changes(running: Mapping[str, Plan], wanted: Mapping[str, Plan]) -> tuple[list[str], list[str]]:
    """Names of the systems to stop and of those to start; a changed one is in both, all others go on undisturbed."""
    stop = sorted(name for name, plan in running.items() if wanted.get(name) != plan)
    start = sorted(name for name, plan in wanted.items() if running.get(name) != plan)
    return stop, start


def check(settings: Settings, own: ScannerSettings, systems: Iterable[System]) -> None:
    """Whether the scanner can work with a configuration.

    Raises:
        BadSettings: a schedule, a pattern, an inventory or a rollout that cannot be used.
    """
    try:
        next_run_s(settings.schedule.schedule_scan, time(), settings.schedule.time_zone)
    except (CronSimError, StopIteration) as error:
        given = settings.schedule.schedule_scan
        raise BadSettings(f"spring.pm.cron.schedule-scan: {given!r} is no cron of 6 fields: {error}") from error
    for system in systems:
        Rules(system, own.temporary_suffixes)
        Inventory(system).read()


class SystemRun:
    """A system's thread: a failure nobody planned for costs this system a pause, and the others nothing."""

    def __init__(self, plan: Plan, work: PerformanceManagement, again_s: float = AGAIN_S) -> None:
        self.plan = plan
        self.work = work
        self.again_s = again_s
        self.thread = Thread(target=self._run, name=plan.system.name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        failures = 0
        while not self.work.stopping.is_set():
            try:
                self.work.run()
            except Exception as error:
                failures += 1
                wait_s = backoff_s(failures, self.again_s, LONGEST_AGAIN_S)
                log.exception("system failed, started again", extra={"system": self.plan.system.name, "wait_s": wait_s})
                self.work.leadership.tell(self.plan.system.name, state="failed", since_s=time(), reason=repr(error))
                self.work.stopping.wait(wait_s)

    def ended(self) -> bool:
        """Stops; False when it is still busy after our patience."""
        self.work.stop()
        self.thread.join(PATIENCE_S)
        return not self.thread.is_alive()


class SystemManager:
    """Owns what the systems share: the ledger, the producer, the sessions with elements and ZooKeeper."""

    def __init__(self, settings: Settings, own: ScannerSettings, read: Callable[[], Settings] = load) -> None:
        """Args: read: the configuration as it is now."""
        brokers = settings.kafka.bootstrap_servers
        self.own = own
        self.watch = Watch(settings, self._check, read)
        self.ledger = Ledger(brokers)
        self.producer = Producer(brokers)
        self.elements = FtpServiceManager(settings.elements)
        self.leadership = Leadership(zookeeper_of(settings).connection_string, f"{socket.gethostname()}-{os.getpid()}")
        self.heartbeat = Heartbeat(settings.health.file)
        self.runs: dict[str, SystemRun] = {}
        self.told_refused = ""

    def run(self, stop: Event) -> None:
        """Until stopped."""
        following = Thread(target=self._follow, args=(stop,), daemon=True)
        following.start()
        self._apply(self.watch.settings)
        while not stop.wait(self.own.config_look_s):
            changed = self.watch.look()
            if changed is not None:
                self._apply(changed)
            self._tell_of_configuration()
        self._stop(list(self.runs))
        following.join(PATIENCE_S)
        self.leadership.close()
        self.elements.close()
        self.producer.close()

    def _follow(self, stop: Event) -> None:
        with or_leave("follow the ledger"):
            self.ledger.follow(stop)

    def _check(self, settings: Settings) -> None:
        running = {run.plan.system for run in self.runs.values()}
        check(settings, self.own, [system for system in settings.systems if system not in running])

    def _apply(self, settings: Settings) -> None:
        wanted = plans(settings)
        stop, start = changes({name: run.plan for name, run in self.runs.items()}, wanted)
        self._stop(stop)
        for name in start:
            if name not in self.runs:
                self.runs[name] = SystemRun(wanted[name], self._performance_management(wanted[name]))
                log.info("system started", extra={"system": name, "again": name in stop})

    def _tell_of_configuration(self) -> None:
        refused = self.watch.refused
        if refused and refused != self.told_refused:
            self.leadership.tell("configuration", state="refused", since_s=time(), reason=refused)
        elif self.told_refused and not refused:
            self.leadership.tell_no_more("configuration")
        self.told_refused = refused

    def _stop(self, names: Iterable[str]) -> None:
        for name in names:
            self.runs[name].work.stop()  # all at once, then wait for each
        for name in names:
            ended = self.runs.pop(name).ended()
            self.leadership.tell_no_more(name)
            log.log(
                logging.INFO if ended else logging.WARNING,
                "system stopped" if ended else "system stopped, its last scan still ends",
                extra={"system": name},
            )

    def _performance_management(self, plan: Plan) -> PerformanceManagement:
        return PerformanceManagement(
            plan.system.name,
            plan.schedule,
            self.leadership,
            FileProducer(plan.system, self.own, self.elements, self.producer, self.ledger),
            Inventory(plan.system).now,
            self.ledger.catch_up,
            self.heartbeat,
        )
