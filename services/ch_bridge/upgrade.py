"""Brings the schema of a database to the version of this pmflow, before anything else uses the database."""

from collections.abc import Callable, Iterator
from typing import Any

from services.ch_bridge.ddl import ROWS_SUFFIX, Deployment, string_literal
from shared.sinks.store_version import SCHEMA_TABLE, SCHEMA_VERSION, Upgrades, upgrade_steps

UPGRADES: Upgrades = {}
"""The statements that turn each version into the next one; none so far, as version 1 is the first."""
Command = Callable[[str], Any]
"""Executes a statement and returns the single value of its answer."""
COUNT_TABLES = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND"


def prepare_database(command: Command, deployment: Deployment, upgrades: Upgrades = UPGRADES) -> None:
    """Records the version in a new database, upgrades an older one, and refuses one that it cannot use.

    Raises:
        Unreachable: the database is of a version that this pmflow cannot use.
    """
    # First: another process may be preparing it.
    in_use = bool(int(command(f"{COUNT_TABLES} (endsWith(name, '{ROWS_SUFFIX}') OR name = 'pm_object')")))
    exists = bool(int(command(f"{COUNT_TABLES} name = '{SCHEMA_TABLE}'")))
    found = int(command(f"SELECT max(version) FROM {SCHEMA_TABLE}")) if exists else 0  # 0: no row yet
    if found == SCHEMA_VERSION:
        return
    for version, step in enumerate(upgrade_steps(found or None, upgrades, in_use=in_use), found + 1):
        for statement in step:
            command(statement)  # other processes may do the same at once, so it must allow that
        command(f"INSERT INTO {SCHEMA_TABLE} (version) VALUES ({version})")
    if not found:
        for statement in _first_statements(str(command("SELECT currentDatabase()")), deployment):
            command(statement)


def _first_statements(database: str, deployment: Deployment) -> Iterator[str]:
    """Yields the statements for a new database; the version comes last, so that a cut-off start is repeated."""
    on, engine = deployment.on, deployment.engine
    yield (
        f"CREATE TABLE IF NOT EXISTS {SCHEMA_TABLE}{on} (version UInt32, since DateTime('UTC') DEFAULT now()) "
        f"ENGINE = {engine} ORDER BY version"
    )
    yield from catalogue_views(database, on)
    yield f"INSERT INTO {SCHEMA_TABLE} (version) VALUES ({SCHEMA_VERSION})"


def catalogue_views(database: str, on: str) -> Iterator[str]:
    """Yields the statements that create pm_group and pm_counter, which show the comments as tables."""
    name = string_literal(database)
    yield (
        f"CREATE VIEW IF NOT EXISTS pm_group{on} AS SELECT JSONExtractString(comment, 'system') AS system, "
        "JSONExtractString(comment, 'measinfo') AS measinfo, JSONExtractString(comment, 'table') AS table_name, "
        f"name AS rows_table FROM system.tables WHERE database = {name} "
        f"AND name = concat(JSONExtractString(comment, 'table'), '{ROWS_SUFFIX}') AND JSONHas(comment, 'measinfo')"
    )
    yield (
        f"CREATE VIEW IF NOT EXISTS pm_counter{on} AS SELECT g.table_name AS table_name, "
        "JSONExtractString(c.comment, 'counter') AS counter, c.name AS column_name, "
        "JSONExtractString(c.comment, 'unit') AS unit FROM system.columns AS c INNER JOIN pm_group AS g "
        f"ON c.table = g.rows_table WHERE c.database = {name} AND JSONHas(c.comment, 'counter')"
    )
