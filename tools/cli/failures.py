"""Turns the failure of a command into one line that says what is wrong and what to do."""

import errno

from shared.errors import Hopeless, MustExit, Unreachable
from shared.kafka.record import KafkaFailure
from shared.settings import BadSettings

PLANNED_FAILURES = (BadSettings, Hopeless, Unreachable, MustExit, KafkaFailure)
"""Failures whose text says already what to do."""
SERVERS = {
    "pymysql": ("MySQL", "check the section mysql"),
    "clickhouse_connect": ("ClickHouse", "check clickhouse.url"),
    "kazoo": ("ZooKeeper", "check the section zookeeper"),
    "confluent_kafka": ("Kafka", "check the section kafka"),
    "cimpl": ("Kafka", "check the section kafka"),
}
"""Client library -> the server that it speaks to, and what to check."""
LONGEST_FAILURE = 600


def failure_text(error: Exception) -> str:
    """Returns one line about a failure."""
    if isinstance(error, PLANNED_FAILURES):
        text = str(error)
        if isinstance(error, Unreachable) and "; " not in text:
            text += "; run pmflow doctor to find out what is wrong"
    elif server := SERVERS.get(type(error).__module__.partition(".")[0]):
        name, remedy = server
        text = f"{name}: {_reason(error)}; {remedy}, or run pmflow doctor"
    elif isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror or error}; {_remedy(error)}"
    elif isinstance(error, OSError):
        text = f"{error}; run pmflow doctor to find out what is wrong"
    else:
        text = f"failed unexpectedly: {type(error).__name__}: {error}; pmflow --debug ... shows where, please report it"
    return " ".join(text.split())[:LONGEST_FAILURE]


def _reason(error: Exception) -> object:
    return error.args[-1] if error.args else error


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "check the name"
    return "check the rights of this user" if error.errno in {errno.EACCES, errno.EPERM} else "check the file"
