"""Logging to standard error, as JSON or readable text: one line per event, a constant event name, facts as fields."""

import json
import logging
import signal
import sys
from typing import Any

import orjson

from shared.printable import printable, printable_json
from shared.settings import Log

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as JSON: {"ts", "level", "service", "event", and the fields passed as `extra`}."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "service": self.service,
            "event": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _json(line)


class ConsoleLines(logging.Formatter):
    """Formats a record as readable text: time, level, service, event, and its fields as name=value.

    A traceback follows on indented lines. Nothing that a field or a message contains begins a line of its own.
    """

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {service}: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - name given by logging
        fields = (f"{name}={value}" for name, value in _fields(record).items() if value not in ("", None))
        return printable("  ".join((super().formatMessage(record), *fields)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - name given by logging
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).splitlines())

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - name given by logging
        return "\n".join(f"    {printable(line)}" for line in stack_info.splitlines())


def _json(line: dict[str, Any]) -> str:
    """Returns a line as JSON; characters that a terminal would act on are escaped."""
    try:
        return printable_json(orjson.dumps(line, default=str).decode())
    except TypeError:  # half a character of UTF-16, a number of more than 64 bits, or a key that is no text
        return json.dumps(line, default=str, skipkeys=True)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def setup(service: str, settings: Log) -> None:
    """Configures logging; called once, in the __main__ of a service.

    SIGUSR1 then switches to DEBUG, SIGUSR2 back to the configured level.
    """
    configured = logging.getLevelNamesMapping()[settings.level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ConsoleLines(service) if settings.form == "console" else JsonLines(service))
    logging.basicConfig(level=configured, handlers=[handler], force=True)
    signal.signal(signal.SIGUSR1, lambda *_: _set_level(logging.DEBUG))
    signal.signal(signal.SIGUSR2, lambda *_: _set_level(configured))
    for noisy in ("paramiko", "kazoo", "faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _set_level(level: int) -> None:
    logging.getLogger().setLevel(level)
    logging.getLogger(__name__).warning("log level changed", extra={"to": logging.getLevelName(level)})
