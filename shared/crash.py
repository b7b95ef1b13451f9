"""How a service ends: asked to, by SIGTERM; or on an error nobody planned for, at once."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

EXIT_CRASHED = 70
log = logging.getLogger(__name__)


@contextmanager
def or_leave(doing: str) -> Iterator[None]:
    """An unplanned error ends the process: nothing is acknowledged, a restart takes up from what is durable.

    For threads and Faust agents, where an exception would end the thread and leave the rest of the process up.
    """
    try:
        yield
    except Exception:
        log.exception("leaving on an unplanned error", extra={"doing": doing})
        logging.shutdown()
        os._exit(EXIT_CRASHED)


def stop_on_signals() -> Event:
    """Set by SIGTERM or SIGINT."""
    stop = Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    return stop
