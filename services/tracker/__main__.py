"""Wiring: settings -> the Faust app -> run until SIGTERM."""

import logging
import sys
from collections.abc import Iterable
from threading import Event, Thread

import faust

from services.tracker.app import build
from services.tracker.cycles import CycleStatistics
from services.tracker.publisher import CyclePublisher
from services.tracker.settings import TrackerSettings
from shared import kafka, log, metrics
from shared.crash import or_leave
from shared.inventory import endpoints
from shared.settings import BadSettings, Settings, System, load
from shared.topics import CYCLES, FILES_SETTLE, FILES_STATUS, TRACKER_TABLES


def publish_cycles(settings: Settings, own: TrackerSettings) -> None:
    """The figures of the cycles, as long as the process lives."""
    brokers = settings.kafka.bootstrap_servers
    with or_leave("publish cycles"):
        CyclePublisher(
            CycleStatistics({system.name: system.sinks for system in settings.systems}, own.lateness_s, own.keep_s),
            kafka.follow_all(brokers, FILES_STATUS),
            kafka.KafkaProducer(brokers),
            lambda: expected(settings.systems),
        ).run(Event())


def expected(systems: Iterable[System]) -> dict[str, list[str]]:
    """Who should write a file each period; nobody where the inventory cannot be read, which the scanner tells."""
    names = {}
    for system in systems:
        try:
            names[system.name] = sorted(endpoints(system))
        except BadSettings:
            names[system.name] = []
    return names


def main() -> None:
    settings = load()
    log.setup("tracker", settings.log.level)
    metrics.serve("tracker", settings)
    # A Faust worker older than its topic never reads it, and looks well.
    missing = kafka.missing(settings.kafka.bootstrap_servers, (FILES_STATUS, FILES_SETTLE, CYCLES, *TRACKER_TABLES))
    if missing:
        sys.exit(f"no topic {', '.join(missing)}: run `pmflow topics create` first")
    own = settings.section("tracker", TrackerSettings)
    Thread(target=publish_cycles, args=(settings, own), daemon=True).start()  # ends with the process: it owns nothing
    app = build(settings, own)
    faust.Worker(
        app, override_logging=False, redirect_stdouts=False, loglevel=logging.WARNING
    ).execute_from_commandline()


if __name__ == "__main__":
    main()
