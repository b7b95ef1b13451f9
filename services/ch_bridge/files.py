"""The history of files in ClickHouse: a table holds their statuses; a view merges them (`shared.sinks.files`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import ROWS_SUFFIX, Deployment, quoted_identifier, string_literal
from services.ch_bridge.own_columns import add_own_columns
from shared.messages import FileStatus
from shared.sinks.files import (
    FIGURE_COLUMNS,
    FILE_COLUMNS,
    FILE_KEY,
    PLACE_COLUMNS,
    STATE_COLUMNS,
    TIME_COLUMNS,
    file_cells,
    kept_statuses,
    oldest_kept,
    status_order,
)
from shared.sinks.names import FILE_TABLE

ROWS = FILE_TABLE + ROWS_SUFFIX


def file_table_statements(deployment: Deployment) -> Iterator[str]:
    """Yields the statements that create the table and its view, or bring them up to date.

    The stage is in the sorting key: of each stage, the newest status stays, with the figures that were known then.
    """
    on = deployment.on
    yield (
        f"CREATE TABLE IF NOT EXISTS {ROWS}{on} (`system` LowCardinality(String), ver Int64, file_id String, "
        "stage LowCardinality(String), status_order Int64 COMMENT 'the newest status has the largest') "
        f"ENGINE = {deployment.engine_with_version('status_order')} ORDER BY (`system`, ver, file_id, stage)"
    )
    yield add_own_columns(ROWS, on, FILE_COLUMNS)
    yield f"CREATE OR REPLACE VIEW {FILE_TABLE}{on} AS SELECT {', '.join(_merged())} FROM {ROWS} AS r GROUP BY {_KEY}"


_KEY = ", ".join(f"r.{name}" for name in FILE_KEY)


def _merged() -> Iterator[str]:
    """Yields the columns of the view."""
    yield from (f"r.{name} AS {name}" for name in FILE_KEY)
    for name in map(quoted_identifier, (*PLACE_COLUMNS, *STATE_COLUMNS)):
        yield f"argMax(r.{name}, r.status_order) AS {name}"
    for name in map(quoted_identifier, FIGURE_COLUMNS):
        yield f"argMax(r.{name}, (coalesce(r.parsed, toDateTime64(0, 3)), r.status_order)) AS {name}"
    for name in map(quoted_identifier, TIME_COLUMNS):
        yield f"max(r.{name}) AS {name}"


@dataclass
class FileTable:
    """The table of files. It belongs to one thread. Raises as `Connection` does."""

    connection: Connection
    retention_days: Callable[[str], int | None] = lambda _: None
    """Returns a system's retention, by its name."""
    has_all_columns: bool = field(default=False, init=False)
    swept: dict[str, datetime | None] = field(default_factory=dict, init=False)
    """System -> the time before which its rows were dropped last."""

    def keep(self, statuses: Sequence[FileStatus]) -> None:
        """Stores statuses; the view shows the same rows in any order, and when statuses come again."""
        if not self.has_all_columns:
            for statement in file_table_statements(self.connection.deployment):
                self.connection.do(statement)
            self.has_all_columns = True
        names = (*FILE_KEY, "status_order", *FILE_COLUMNS)
        cells = [
            file_cells(status) | {"status_order": status_order(status)}
            for status in kept_statuses(statuses, self.retention_days)
        ]
        if cells:
            self.connection.append(ROWS, names, [[row[name] for name in names] for row in cells])
        for system in {status.system for status in statuses}:
            self._drop_old(system)

    def _drop_old(self, system: str) -> None:
        """Drops the rows that are too old; looks once a day for each system."""
        before = oldest_kept(self.retention_days(system))
        if before == self.swept.get(system):
            return
        if before:
            old = f"`system` = {string_literal(system)} AND changed < toDateTime64('{before:%Y-%m-%d}', 3, 'UTC')"
            if self.connection.ask(f"SELECT 1 FROM {ROWS} WHERE {old} LIMIT 1"):
                self.connection.do(f"DELETE FROM {ROWS}{self.connection.deployment.on} WHERE {old}")
        self.swept[system] = before

    def renew(self) -> None:
        """Forgets the table's columns, and closes the connection until it is needed."""
        self.has_all_columns = False
        self.connection.close()
