"""Wiring: settings -> the Faust app -> run until SIGTERM."""

import logging
import sys

import faust

from services.tracker.app import build
from services.tracker.settings import TrackerSettings
from shared import kafka, log
from shared.settings import load
from shared.topics import FILES_SETTLE, FILES_STATUS, TRACKER_TABLES


def main() -> None:
    settings = load()
    log.setup("tracker", settings.log.level)
    # A Faust worker older than its topic never reads it, and looks well.
    missing = kafka.missing(settings.kafka.bootstrap_servers, (FILES_STATUS, FILES_SETTLE, *TRACKER_TABLES))
    if missing:
        sys.exit(f"no topic {', '.join(missing)}: run `pmflow topics create` first")
    app = build(settings, settings.section("tracker", TrackerSettings))
    faust.Worker(
        app, override_logging=False, redirect_stdouts=False, loglevel=logging.WARNING
    ).execute_from_commandline()


if __name__ == "__main__":
    main()
