"""Wiring: settings -> the Faust app -> run until SIGTERM."""

import logging
import signal
import sys
from functools import partial
from itertools import chain
from threading import Event, Thread

import faust

from services.tracker.app import build, complete_on
from services.tracker.cycles import CycleStatistics
from services.tracker.leases import Leases
from services.tracker.publisher import CyclePublisher
from services.tracker.settings import TrackerSettings
from shared import log
from shared.crash import or_leave
from shared.cycle_figures import CycleFigures, readable
from shared.health import Heartbeat, heartbeats
from shared.inventory import endpoints
from shared.kafka import admin, consume
from shared.kafka.produce import Producer
from shared.metrics import serve_metrics
from shared.settings import BadSettings, load
from shared.topics import CYCLES, FILES_SETTLE, FILES_STATUS, TRACKER_TABLES
from shared.watch import Watch


class Worker(faust.Worker):
    """Without Faust's own answers to SIGUSR1 and SIGUSR2 (all variables on standard error; a debugger): see `log`."""

    def install_signal_handlers(self) -> None:
        self.loop.add_signal_handler(signal.SIGINT, self._on_sigint)
        self.loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)


def publish_cycles(watch: Watch, own: TrackerSettings, heartbeat: Heartbeat) -> None:
    """The figures of the cycles, as long as the process lives."""
    brokers = watch.settings.kafka.bootstrap_servers

    def sinks(name: str) -> tuple[str, ...]:
        system = watch.settings.system(name)
        return system.sinks if system else ()

    with or_leave("publish cycles"):
        CyclePublisher(
            CycleStatistics(sinks, own.lateness_s, own.keep_s),
            consume.follow_all(brokers, FILES_STATUS),
            admin.ends(brokers, FILES_STATUS),
            Producer(brokers),
            partial(expected, watch),
            Leases(partial(complete_on, watch), own.lease_s),
            lambda: watch.settings.systems,
            heartbeat,
            published(brokers),
        ).run(Event())


def expected(watch: Watch, name: str) -> list[str]:
    """Who should write a file each period; nobody where the inventory cannot be read, which the scanner tells."""
    system = watch.settings.system(name)
    try:
        return sorted(endpoints(system)) if system else []
    except BadSettings:
        return []


def published(brokers: str) -> dict[tuple[str, int], CycleFigures]:
    """What a tracker before this one told of the cycles."""
    part = consume.OffsetRange(CYCLES, admin.begins(brokers, CYCLES), admin.ends(brokers, CYCLES))
    records = chain.from_iterable(consume.read(brokers, "pmflow-tracker-cycles", part, 1000))
    figures = readable(record.value for record in records)
    return {(f.system, f.end_s): f for f in figures}


def main() -> None:
    settings = load()
    log.setup("tracker", settings.log)
    serve_metrics("tracker", settings)
    # A Faust worker older than its topic never reads it, and looks well.
    missing = admin.missing(settings.kafka.bootstrap_servers, (FILES_STATUS, FILES_SETTLE, CYCLES, *TRACKER_TABLES))
    if missing:
        sys.exit(f"no topic {', '.join(missing)}: run `pmflow topics create` first")
    own = settings.section("tracker", TrackerSettings)
    watch = Watch(settings)
    of_faust, of_cycles = heartbeats(settings.health.file, 2)
    Thread(
        target=publish_cycles, args=(watch, own, of_cycles), daemon=True
    ).start()  # ends with the process: it owns nothing
    app = build(watch, own, of_faust)
    Worker(app, override_logging=False, redirect_stdouts=False, loglevel=logging.WARNING).execute_from_commandline()


if __name__ == "__main__":
    main()
