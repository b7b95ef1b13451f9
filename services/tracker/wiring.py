"""Builds the tracker from its settings and runs it until SIGTERM."""

import logging
import signal
import sys
from collections.abc import Collection
from functools import partial
from itertools import chain
from threading import Event, Thread
from time import time

import faust

from services.tracker.app import build_app, complete_on
from services.tracker.cycles import CycleStatistics
from services.tracker.leases import Leases
from services.tracker.postponed import PostponedFiles
from services.tracker.publisher import PUBLISHER_READER, CyclePublisher, digest_of_figures
from services.tracker.settings import TrackerSettings
from services.tracker.sweep import LedgerSweep
from shared import log
from shared.configuration.file_snapshots import COMPARE_AFTER_S
from shared.configuration.kafka import Kafka
from shared.configuration.secret_files import secret_files, warn_of_readable
from shared.crash import exit_on_error
from shared.cycle_figures import readable
from shared.defects import DefectBudget, budget_of
from shared.health import Heartbeat, heartbeats, process_ends
from shared.inventory import endpoints
from shared.kafka import admin, consume
from shared.kafka.dead_letters import EarlierDefects
from shared.kafka.permissions import require_access
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.settings import BadSettings, files_with_secrets, load
from shared.topics import CYCLES, FILES_SETTLE, FILES_STATUS, TRACKER_TABLES
from shared.watch import Watch


class Worker(faust.Worker):
    """A Faust worker that leaves SIGUSR1 and SIGUSR2 alone.

    Faust would print all variables on standard error, or start a debugger; `shared.log` uses these signals.
    """

    def install_signal_handlers(self) -> None:
        self.loop.add_signal_handler(signal.SIGINT, self._on_sigint)
        self.loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)


def publish_cycles(watch: Watch, own: TrackerSettings, budget: DefectBudget, heartbeat: Heartbeat) -> None:
    """Publishes the figures of the cycles until the process ends."""
    brokers = watch.settings.kafka

    def sinks(name: str) -> tuple[str, ...]:
        system = watch.settings.system(name)
        return system.sinks if system else ()

    with exit_on_error("publish cycles"):
        CyclePublisher(
            CycleStatistics(sinks, own.lateness_s, own.keep_s),
            consume.follow_all(brokers, FILES_STATUS),
            admin.ends(brokers, FILES_STATUS),
            Producer(brokers),
            partial(expected_elements, watch),
            Leases(partial(complete_on, watch), own.lease_s),
            PostponedFiles(own.postponed_s),
            lambda: watch.settings.systems,
            heartbeat,
            published_figures(brokers, time() - own.keep_s),
            budget=budget,
            is_known=EarlierDefects(brokers, FILES_STATUS, PUBLISHER_READER),
        ).run(Event())


def expected_elements(watch: Watch, name: str) -> Collection[str]:
    """Returns the elements in a system's inventory; none if it cannot be read, which the scanner reports."""
    system = watch.settings.system(name)
    try:
        return endpoints(system, COMPARE_AFTER_S).keys() if system else ()
    except BadSettings:
        return ()


def published_figures(brokers: Kafka, since_s: float) -> dict[tuple[str, int], str]:
    """Returns the digests of the figures that earlier trackers published, by system and end of the period.

    Args:
        brokers: the section `kafka`.
        since_s: only for periods that ended later.
    """
    part = consume.OffsetRange(CYCLES, admin.begins(brokers, CYCLES), admin.ends(brokers, CYCLES))
    records = chain.from_iterable(consume.read_range(brokers, "pmflow-tracker-cycles", part, 1000))
    figures = readable(record.value for record in records)
    return {(f.system, f.end_s): digest_of_figures(f) for f in figures if f.end_s > since_s}


def sweep_ledger(watch: Watch, own: TrackerSettings) -> None:
    """Removes finished files from the ledger until the process ends."""
    keep_days = watch.settings.ledger.keep_days
    if not keep_days:
        return
    keep_s = max(keep_days * 86_400.0, own.keep_s)  # at a start, the files of each cycle are read again
    brokers = watch.settings.kafka

    def on_done(name: str) -> str:
        system = watch.settings.system(name)
        return system.on_done if system else ""

    with exit_on_error("sweep the ledger"):
        LedgerSweep(brokers, Producer(brokers), on_done, keep_s, own.sweep_s).run(Event())


def main() -> None:
    """Runs the tracker until SIGTERM; exits if a topic is missing."""
    settings = load()
    log.setup("tracker", settings.log)
    warn_of_readable([*files_with_secrets(), *secret_files(settings.kafka)])
    require_access(settings, "tracker")
    serve_metrics("tracker", settings)
    # A Faust worker never consumes a topic that was created after it started, and still appears healthy.
    with exit_on_error("look for its topics"):
        missing = admin.missing(settings.kafka, (FILES_STATUS, FILES_SETTLE, CYCLES, *TRACKER_TABLES))
    if missing:
        reason = f"no topic {', '.join(missing)}: run `pmflow topics create` first"
        process_ends(reason)
        sys.exit(reason)
    own = settings.section("tracker", TrackerSettings)
    watch, budget = Watch(settings), budget_of(settings.defects)
    of_faust, of_cycles = heartbeats(settings.health.file, 2)
    # A daemon: it ends with the process, as it owns nothing.
    Thread(target=publish_cycles, args=(watch, own, budget, of_cycles), daemon=True).start()
    Thread(target=sweep_ledger, args=(watch, own), daemon=True).start()
    app = build_app(watch, own, of_faust, budget)
    Worker(app, override_logging=False, redirect_stdouts=False, loglevel=logging.WARNING).execute_from_commandline()
