"""The cycles' figures in ClickHouse: every version of them in a table, the newest ones in a view of the plain name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.ch_bridge.clickhouse import ROWS, ClickHouse, quoted
from shared.cycles import COLUMNS, Kind, cells
from shared.messages import CycleFigures

TABLE = "pm_cycle"
TYPES: dict[Kind, str] = {"integer": "Nullable(Int64)", "number": "Nullable(Float64)", "json": "Nullable(String)"}
CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE + ROWS} (system LowCardinality(String), "
    "ts DateTime('UTC') COMMENT 'end of the period', ver UInt64 COMMENT 'when they were told, ms: the newest win') "
    "ENGINE = ReplacingMergeTree(ver) ORDER BY (system, ts)"
)
WIDEN = f"ALTER TABLE {TABLE + ROWS} " + ", ".join(
    f"ADD COLUMN IF NOT EXISTS {quoted(name)} {TYPES[kind]}" for name, kind in COLUMNS.items()
)
VIEW = f"CREATE OR REPLACE VIEW {TABLE} AS SELECT * EXCEPT ver FROM {TABLE + ROWS} FINAL"


@dataclass
class CycleTable:
    """One client, one owner. Raises as `ClickHouse` does."""

    clickhouse: ClickHouse
    complete: bool = field(default=False, init=False)

    def keep(self, figures: Sequence[CycleFigures]) -> None:
        """Once more changes nothing; neither do figures that are older than those in the table."""
        if not self.complete:
            for statement in (CREATE, WIDEN, VIEW):
                self.clickhouse.do(statement)
            self.complete = True
        rows = [
            [f.system, datetime.fromtimestamp(f.end_s, UTC), int(f.told_s * 1000), *cells(f).values()] for f in figures
        ]
        self.clickhouse.append(TABLE + ROWS, ["system", "ts", "ver", *COLUMNS], rows)
