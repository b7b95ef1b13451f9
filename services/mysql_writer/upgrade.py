"""Brings the schema of a database to the version of this pmflow, before anything else uses the database."""

from collections.abc import Callable, Sequence
from typing import Any

from shared.errors import Unreachable
from shared.sinks.store_version import SCHEMA_TABLE, SCHEMA_VERSION, Upgrades, upgrade_steps

UPGRADES: Upgrades = {}
"""The statements that turn each version into the next one; none so far, as version 1 is the first."""
FIRST_TABLES = ("pm_object", "pm_group")
"""Tables by which a database of pmflow is known."""
Statements = Callable[..., Sequence[Any]]
"""Executes a statement with arguments and returns the rows of the answer."""


def prepare_database(execute: Statements, upgrades: Upgrades = UPGRADES) -> None:
    """Records the version in a new database, upgrades an older one, and refuses one that it cannot use.

    Raises:
        Unreachable: the database is of a version that this pmflow cannot use.
    """
    in_use = any(_exists(table, execute) for table in FIRST_TABLES)  # first: another process may be preparing it
    found = _version(execute) if _exists(SCHEMA_TABLE, execute) else None
    if found == SCHEMA_VERSION:
        return
    steps = upgrade_steps(found, upgrades, in_use=in_use)
    if steps:
        _upgrade(upgrades, execute)
        return
    execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA_TABLE} (one TINYINT NOT NULL PRIMARY KEY, version INT NOT NULL)")
    execute(f"INSERT IGNORE INTO {SCHEMA_TABLE} VALUES (1, %s)", (SCHEMA_VERSION,))
    execute("COMMIT")


def create_missing_tables(statements: Sequence[str], execute: Statements) -> None:
    """Executes statements `CREATE TABLE IF NOT EXISTS <name> ..` for the tables that do not exist.

    For a table that exists, MySQL would wait for locks on every view that shows it, and on the tables behind the view:
    a lock on one table of one system would keep every new connection waiting.
    """
    for statement in statements:
        if not _exists(statement.split()[5], execute):
            execute(statement)


def _upgrade(upgrades: Upgrades, execute: Statements) -> None:
    """Upgrades step by step under a lock; a step that was cut off is repeated, so its statements must allow that."""
    ((got,),) = execute("SELECT GET_LOCK('pmflow upgrade', 10)")
    if got != 1:
        raise Unreachable("another process is upgrading the database")
    try:
        execute("COMMIT")
        for step in upgrade_steps(_version(execute), upgrades, in_use=True):
            for statement in step:
                execute(statement)
            execute(f"UPDATE {SCHEMA_TABLE} SET version = version + 1")
            execute("COMMIT")
    finally:
        execute("DO RELEASE_LOCK('pmflow upgrade')")


def _version(execute: Statements) -> int | None:
    found = execute(f"SELECT version FROM {SCHEMA_TABLE}")
    return int(found[0][0]) if found else None


def _exists(table: str, execute: Statements) -> bool:
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"
    return bool(execute(query, (table,)))
