"""The cycles' figures in ClickHouse: every version of them in a table, the newest ones in a view of the plain name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.ch_bridge.connection import Connection
from services.ch_bridge.statements import ROWS, Where, quoted
from shared.cycle_figures import CycleFigures
from shared.sinks.cycles import COLUMNS, Kind, cells

TABLE = "pm_cycle"
TYPES: dict[Kind, str] = {"integer": "Nullable(Int64)", "number": "Nullable(Float64)", "json": "Nullable(String)"}


def statements(where: Where) -> Iterator[str]:
    """What makes the table and its view, or brings them up to date."""
    yield (
        f"CREATE TABLE IF NOT EXISTS {TABLE + ROWS}{where.on} (system LowCardinality(String), "
        "ts DateTime('UTC') COMMENT 'end of the period', ver UInt64 COMMENT 'when they were told, ms: the newest win') "
        f"ENGINE = {where.replacing_by('ver')} ORDER BY (system, ts)"
    )
    columns = [f"ADD COLUMN IF NOT EXISTS {quoted(name)} {TYPES[kind]}" for name, kind in COLUMNS.items()]
    yield f"ALTER TABLE {TABLE + ROWS}{where.on} {', '.join(columns)}"
    yield f"CREATE OR REPLACE VIEW {TABLE}{where.on} AS SELECT * EXCEPT ver FROM {TABLE + ROWS} FINAL"


@dataclass
class CycleTable:
    """One client, one owner. Raises as `Connection` does."""

    connection: Connection
    complete: bool = field(default=False, init=False)

    def keep(self, figures: Sequence[CycleFigures]) -> None:
        """Once more changes nothing; neither do figures that are older than those in the table."""
        if not self.complete:
            for statement in statements(self.connection.where):
                self.connection.do(statement)
            self.complete = True
        rows = [
            [f.system, datetime.fromtimestamp(f.end_s, UTC), int(f.told_s * 1000), *cells(f).values()] for f in figures
        ]
        self.connection.append(TABLE + ROWS, ["system", "ts", "ver", *COLUMNS], rows)
