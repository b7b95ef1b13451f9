"""Cycle statistics in MySQL: one row per system and period; the newest figures win."""

from collections.abc import Sequence
from typing import Any

from services.mysql_writer.connection import Connection
from services.mysql_writer.ddl import placeholders, quoted_identifier
from services.mysql_writer.own_columns import add_own_columns
from services.mysql_writer.render import datetime_number
from services.mysql_writer.settings import Mysql
from shared.cycle_figures import CycleFigures
from shared.sinks.cycles import CYCLE_COLUMNS, cycle_cells
from shared.sinks.names import CYCLE_TABLE

CREATE_CYCLE_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {CYCLE_TABLE} (`system` VARCHAR(255) NOT NULL, "
    "ts DATETIME NOT NULL COMMENT 'end of the period, UTC', PRIMARY KEY (`system`, ts)) CHARACTER SET utf8mb4"
)
_NAMES = ("system", "ts", *CYCLE_COLUMNS)
_NEWER = "VALUES(told_s) >= COALESCE(told_s, 0)"
UPSERT_CYCLE = (
    f"INSERT INTO {CYCLE_TABLE} ({', '.join(map(quoted_identifier, _NAMES))}) VALUES ({placeholders(_NAMES)}) "
    "ON DUPLICATE KEY UPDATE "
    + ", ".join(
        f"{column} = IF({_NEWER}, VALUES({column}), {column})"
        for column in (quoted_identifier(name) for name in CYCLE_COLUMNS if name != "told_s")
    )
    + ", told_s = GREATEST(COALESCE(told_s, 0), VALUES(told_s))"  # last: MySQL evaluates from left to right
)


class CycleTable:
    """The table of cycle statistics, with a connection of its own. Raises as `Connection` does."""

    def __init__(self, settings: Mysql) -> None:
        self.connection = Connection(settings, (CREATE_CYCLE_TABLE,))
        self.has_all_columns = False

    def keep(self, figures: Sequence[CycleFigures]) -> None:
        """Stores all figures or none; figures older than those in the table change nothing."""
        if not self.has_all_columns:
            add_own_columns(self.connection, CYCLE_TABLE, CYCLE_COLUMNS)
            self.has_all_columns = True
        with self.connection.transaction() as execute:
            for cycle in figures:
                by_column: dict[str, Any] = cycle_cells(cycle)
                cells = (by_column[name] for name in CYCLE_COLUMNS)
                execute(UPSERT_CYCLE, (cycle.system, datetime_number(cycle.end_s), *cells))

    def renew(self) -> None:
        """Forgets the table's columns, and closes the connection until it is needed."""
        self.has_all_columns = False
        self.close()

    def close(self) -> None:
        self.connection.close()
