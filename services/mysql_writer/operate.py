"""The entry point for tools: everything they use of this service's code.

`connect` returns a connection for reading what is stored; `Retention` partitions tables; `MysqlWriterSettings` lists
the settings for the reference page; `replay_sink` stores messages again, in statements of BYTES_PER_STATEMENT.
"""

from functools import partial

from services.mysql_writer.connection import connect
from services.mysql_writer.grants import MysqlUser, Role, grant_statements, privileges
from services.mysql_writer.render import BYTES_PER_STATEMENT
from services.mysql_writer.repository import Repository
from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import Mysql, MysqlWriterSettings, mysql_of, mysql_rules
from services.mysql_writer.sink import MysqlWriterWorker
from shared.settings import Settings

__all__ = [
    "BYTES_PER_STATEMENT",
    "Mysql",
    "MysqlUser",
    "MysqlWriterSettings",
    "Retention",
    "Role",
    "connect",
    "grant_statements",
    "mysql_of",
    "privileges",
    "replay_sink",
]


def replay_sink(settings: Settings) -> MysqlWriterWorker:
    """Returns a sink that stores rows under the same rules as the service."""
    return MysqlWriterWorker(Repository(mysql_of(settings), partial(mysql_rules, settings)))
