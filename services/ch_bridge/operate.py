"""The entry point for tools: everything they use of this service's code.

`client_of` returns a client for reading what is stored, `server_client_of` one of the server for which `address` tells
the database: pm_group has the names of tables, pm_counter those of columns,
and `quoted_identifier` quotes them; `ChBridgeSettings` lists the settings for the reference page; `replay_sink` stores
messages again.
"""

from functools import partial

from services.ch_bridge.connection import client_of, server_client_of
from services.ch_bridge.ddl import quoted_identifier
from services.ch_bridge.grants import ClickhouseUser, grant_statements, privileges
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import ChBridgeSettings, Clickhouse, address, clickhouse_of, without_password
from services.ch_bridge.sink import ClickhouseBridge
from shared.settings import Settings
from shared.sinks.rules import storage_rules

__all__ = [
    "ChBridgeSettings",
    "Clickhouse",
    "ClickhouseUser",
    "address",
    "clickhouse_of",
    "client_of",
    "grant_statements",
    "privileges",
    "quoted_identifier",
    "replay_sink",
    "server_client_of",
    "without_password",
]


def replay_sink(settings: Settings) -> ClickhouseBridge:
    """Returns a sink that stores rows under the same rules as the service.

    It sends no deduplication tokens, so that rows the server lost after their first insert are stored again.
    """
    rules = partial(storage_rules, settings)
    return ClickhouseBridge(ClickhouseRepository(clickhouse_of(settings), rules, drop_repeats=False))
