"""Wiring: settings -> the Faust app -> run until SIGTERM."""

import logging

import faust

from services.tracker.app import build
from shared import log
from shared.settings import load


def main() -> None:
    settings = load()
    log.setup("tracker", settings.log.level)
    worker = faust.Worker(build(settings), override_logging=False, redirect_stdouts=False, loglevel=logging.WARNING)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
