"""Cycle statistics in ClickHouse: a table holds every version of the figures; a view shows the newest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import ROWS_SUFFIX, Deployment
from services.ch_bridge.own_columns import add_own_columns
from services.ch_bridge.render import LATEST_S
from shared.cycle_figures import CycleFigures
from shared.errors import Hopeless
from shared.sinks.cycles import CYCLE_COLUMNS, cycle_cells
from shared.sinks.names import CYCLE_TABLE


def cycle_table_statements(deployment: Deployment) -> Iterator[str]:
    """Yields the statements that create the table and its view, or bring them up to date."""
    rows, on = CYCLE_TABLE + ROWS_SUFFIX, deployment.on
    yield (
        f"CREATE TABLE IF NOT EXISTS {rows}{on} (system LowCardinality(String), "
        "ts DateTime('UTC') COMMENT 'end of the period', ver UInt64 COMMENT 'when they were told, ms: the newest win') "
        f"ENGINE = {deployment.engine_with_version('ver')} ORDER BY (system, ts)"
    )
    yield add_own_columns(rows, on, CYCLE_COLUMNS)
    yield f"CREATE OR REPLACE VIEW {CYCLE_TABLE}{on} AS SELECT * EXCEPT ver FROM {rows} FINAL"


@dataclass
class CycleTable:
    """The table of cycle statistics. It belongs to one thread. Raises as `Connection` does."""

    connection: Connection
    has_all_columns: bool = field(default=False, init=False)

    def keep(self, figures: Sequence[CycleFigures]) -> None:
        """Stores figures; figures that are stored already, or older than those in the table, change nothing."""
        if not self.has_all_columns:
            for statement in cycle_table_statements(self.connection.deployment):
                self.connection.do(statement)
            self.has_all_columns = True
        if bad := [f.end_s for f in figures if not 0 <= f.end_s <= LATEST_S]:
            raise Hopeless(f"end of period {bad[0]} is not between the years 1970 and 2106")
        rows = [
            [f.system, datetime.fromtimestamp(f.end_s, UTC), int(f.told_s * 1000), *cycle_cells(f).values()]
            for f in figures
        ]
        self.connection.append(CYCLE_TABLE + ROWS_SUFFIX, ["system", "ts", "ver", *CYCLE_COLUMNS], rows)

    def renew(self) -> None:
        """Forgets the table's columns, and closes the connection until it is needed."""
        self.has_all_columns = False
        self.connection.close()
