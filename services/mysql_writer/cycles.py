"""CycleTable: the cycles' figures in MySQL, a row a system and period; the newest figures win."""

from collections.abc import Sequence
from typing import Any

from services.mysql_writer.connection import Connection
from services.mysql_writer.rows import datetime_number, quoted
from services.mysql_writer.schema import present
from services.mysql_writer.settings import Mysql
from shared.cycle_figures import CycleFigures
from shared.sinks.cycles import COLUMNS, Kind, cells

TABLE = "pm_cycle"
TYPES: dict[Kind, str] = {"integer": "BIGINT", "number": "DOUBLE", "json": "LONGTEXT"}
CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (`system` VARCHAR(64) NOT NULL, "
    "ts DATETIME NOT NULL COMMENT 'end of the period, UTC', PRIMARY KEY (`system`, ts)) CHARACTER SET utf8mb4"
)
NAMES = ("system", "ts", *COLUMNS)
NEWER = "VALUES(told_s) >= COALESCE(told_s, 0)"
UPSERT = (
    f"INSERT INTO {TABLE} ({', '.join(map(quoted, NAMES))}) VALUES ({', '.join(['%s'] * len(NAMES))}) "
    "ON DUPLICATE KEY UPDATE "
    + ", ".join(
        f"{quoted(name)} = IF({NEWER}, VALUES({quoted(name)}), {quoted(name)})" for name in COLUMNS if name != "told_s"
    )
    + ", told_s = GREATEST(COALESCE(told_s, 0), VALUES(told_s))"  # last: MySQL evaluates from left to right
)


class CycleTable:
    """One connection, one owner. Raises as `Connection` does."""

    def __init__(self, settings: Mysql) -> None:
        self.connection = Connection(settings, (CREATE,))
        self.complete = False

    def keep(self, figures: Sequence[CycleFigures]) -> None:
        """All or nothing; figures that are older than those in the table change nothing."""
        if not self.complete:
            self._complete()
        with self.connection.transaction() as execute:
            for cycle in figures:
                of_cycle: dict[str, Any] = cells(cycle)
                execute(UPSERT, (cycle.system, datetime_number(cycle.end_s), *(of_cycle[name] for name in COLUMNS)))

    def _complete(self) -> None:
        """The columns that are not there yet."""
        with self.connection.ddl(TABLE) as execute:
            there = present([TABLE], execute)
            added = [
                f"ADD COLUMN {quoted(name)} {TYPES[kind]} NULL"
                for name, kind in COLUMNS.items()
                if (TABLE, name) not in there
            ]
            if added:
                execute(f"ALTER TABLE {TABLE} {', '.join(added)}")
        self.complete = True

    def close(self) -> None:
        self.connection.close()
