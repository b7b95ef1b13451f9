"""Ends a service: gracefully on SIGTERM or SIGINT, immediately on an unexpected error."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from shared.configuration.resolve import BadSettings
from shared.health import process_ends
from shared.kafka.record import KafkaFailure

EXIT_CRASHED = 70
log = logging.getLogger(__name__)


@contextmanager
def exit_on_error(doing: str) -> Iterator[None]:
    """Ends the process on an unexpected error. Nothing is acknowledged; a restart resumes from durable state.

    Used in threads and Faust agents, where an exception would end the thread only and leave the process running.
    """
    try:
        yield
    except (KafkaFailure, BadSettings) as error:
        log.error("process exits", extra={"doing": doing, "reason": str(error)})  # noqa: TRY400 - the reason suffices
        process_ends(str(error))
        logging.shutdown()
        os._exit(EXIT_CRASHED)
    except Exception:
        log.exception("process exits after an unexpected error", extra={"doing": doing})
        logging.shutdown()
        os._exit(EXIT_CRASHED)


def stop_on_signals() -> Event:
    """Returns an event that SIGTERM and SIGINT set."""
    stop = Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    return stop
