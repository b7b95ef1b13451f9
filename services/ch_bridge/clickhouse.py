"""ClickHouse, a server or a cluster behind a URL: the only module that imports clickhouse_connect.

A wide table per measurement group. Rows of every version of a file stay apart, and so do rows of one file with other
counters (`ver` and `part` are in the sorting key, so only a repeated delivery replaces its rows); the view of the
table's plain name takes each counter from the newest file that has it, as MySQL does on writing
(docs/decisions/versions.md).
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from services.ch_bridge.columns import Columns, numbers
from shared import metrics
from shared.errors import Hopeless, Unreachable
from shared.landing import NOT_ALLOWED, RefusedCounters
from shared.settings import Clickhouse
from shared.values import Content, Kind, as_text, content_of, kind_of, widened

log = logging.getLogger(__name__)

ROWS = "_rows"
"""Suffix of the table behind the view of the plain name."""
TYPES: Mapping[Kind, str] = {
    "number": "Nullable(Float64)",
    "integer": "Nullable(Int64)",
    "vector": "Nullable(String)",
    "text": "Nullable(String)",
}
KINDS: Mapping[str, Kind] = {TYPES[kind]: kind for kind in ("number", "integer")}
"""All else is text, which holds vectors too."""
KEYS = ("ts", "element", "object", "gp_s")
ARROW_KEYS = {
    "ts": pa.timestamp("s", tz="UTC"),
    "element": pa.string(),
    "object": pa.string(),
    "gp_s": pa.uint32(),
    "suspect": pa.uint8(),
    "ver": pa.int64(),
    "part": pa.uint32(),
}
WILL_NEVER_DO = {6, 27, 53, 69, 72, 117, 349}
"""Codes of data ClickHouse cannot read or convert. All others may pass: away, busy, read-only, full, a race of DDL."""


class ClickHouse:
    """One client, one owner.

    Raises (all methods):
        Unreachable: the server does not answer, or not well; trying again changes nothing that is stored.
        Hopeless: it will never take this.
    """

    def __init__(self, settings: Clickhouse, *, add_columns: bool, drop_repeats: bool = True) -> None:
        """`drop_repeats`: an insert the server has seen is dropped by its token, even if its rows are gone since."""
        self.url = settings.url
        self.retention_days = settings.retention_days
        self.drop_repeats = drop_repeats
        self.add_columns = add_columns
        self.connected: Client | None = None
        self.tables: dict[str, dict[str, Kind]] = {}

    def check(self) -> None:
        """Does it answer?"""
        self.do("SELECT 1")

    def insert(self, rows: Columns) -> None:
        """Rows of one table, which is made or widened where it must be."""
        packed = {counter: numbers(values) for counter, values in rows.counters.items()}
        known = self._columns(rows, {c: self._content(rows, c, found is not None) for c, found in packed.items()})
        try:
            arrays = [pa.array(rows.keys[name], type=kind) for name, kind in ARROW_KEYS.items()]
        except (pa.ArrowException, OverflowError) as error:
            raise Hopeless(f"{rows.table}: {error}") from error
        for counter, found in packed.items():
            if known[counter] == "integer":
                arrays.append(pa.array(rows.counters[counter], type=pa.int64()))
            elif found is None or known[counter] == "text":
                arrays.append(pa.array(map(as_text, rows.counters[counter]), type=pa.string()))
            else:
                arrays.append(pa.array(found, from_pandas=True))  # NaN is null
        table = pa.table(arrays, names=[*ARROW_KEYS, *rows.counters])
        settings = {"insert_deduplication_token": rows.token} if self.drop_repeats else {"insert_deduplicate": 0}
        self._guarded(lambda client: client.insert_arrow(quoted(rows.table + ROWS), table, settings=settings))

    def _content(self, rows: Columns, counter: str, is_packed: bool) -> Content:
        """Numbers are told apart only where the column makes a difference."""
        is_number = self.tables.get(rows.table, {}).get(counter) == "number"
        return "fraction" if is_packed and is_number else content_of(rows.counters[counter])

    def _columns(self, rows: Columns, wanted: Mapping[str, Content]) -> Mapping[str, Kind]:
        if rows.table not in self.tables or self._lacking(rows.table, wanted):
            self._make(rows, wanted)
        return self.tables[rows.table]

    def _lacking(self, table: str, wanted: Mapping[str, Content]) -> dict[str, Kind]:
        known = self.tables[table]
        kinds = {c: widened(known[c], content) if c in known else kind_of(content) for c, content in wanted.items()}
        return {c: kind for c, kind in kinds.items() if c not in known or known[c] != kind}

    def _make(self, rows: Columns, wanted: Mapping[str, Content]) -> None:
        table = rows.table
        self.do(_create(table, self.retention_days))
        self._read(table)
        lacking = self._lacking(table, wanted)
        known = self.tables[table]
        unknown = lacking.keys() - known.keys()
        if unknown and not self.add_columns:
            raise RefusedCounters({(rows.system, rows.group, rows.names[name]): NOT_ALLOWED for name in unknown})
        changes = [
            f"ADD COLUMN IF NOT EXISTS {quoted(counter)} {TYPES[kind]} CODEC(ZSTD(1))"
            if counter in unknown
            else f"MODIFY COLUMN {quoted(counter)} {TYPES[kind]}"
            for counter, kind in lacking.items()
        ]
        if changes:
            self.do(f"ALTER TABLE {quoted(table + ROWS)} {', '.join(changes)}")
            self._read(table)
        self.do(_view(table, self.tables[table]))
        metrics.SCHEMA_CHANGES.labels("clickhouse", "column added").inc(len(unknown))
        metrics.SCHEMA_CHANGES.labels("clickhouse", "column widened").inc(len(lacking) - len(unknown))
        log.info("columns made", extra={"table": table, "added": len(unknown), "widened": len(lacking) - len(unknown)})

    def _read(self, table: str) -> None:
        rows = self._guarded(
            lambda client: (
                client.query(
                    "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {t:String}",
                    parameters={"t": table + ROWS},
                ).result_rows
            )
        )
        self.tables[table] = {name: KINDS.get(kind, "text") for name, kind in rows if name not in ARROW_KEYS}

    def close(self) -> None:
        if self.connected is not None:
            self.connected.close()
            self.connected = None

    def append(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A few rows of a table of pmflow's own."""
        self._guarded(lambda client: client.insert(table, rows, column_names=names))

    def do(self, statement: str) -> None:
        """A statement without an answer."""
        self._guarded(lambda client: client.command(statement))

    def _guarded(self, do: Any) -> Any:
        try:
            if self.connected is None:
                self.connected = self._connect()
            return do(self.connected)
        except DatabaseError as error:
            self._forget()
            if error.code in WILL_NEVER_DO:
                raise Hopeless(f"ClickHouse: {error}") from error
            raise Unreachable(f"ClickHouse: {error}") from error
        except (ClickHouseError, OSError) as error:
            self._forget()
            raise Unreachable(f"ClickHouse: {error}") from error

    def _connect(self) -> Client:
        base, _, database = self.url.rpartition("/")
        with clickhouse_connect.get_client(dsn=base, autogenerate_session_id=False) as server:
            server.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        return clickhouse_connect.get_client(dsn=base, database=database, autogenerate_session_id=False)

    def _forget(self) -> None:
        """The line and what was known of the tables: somebody may have changed them."""
        self.close()
        self.tables.clear()


def _create(table: str, retention_days: int) -> str:
    expire = f"TTL ts + INTERVAL {retention_days} DAY " if retention_days else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(table + ROWS)} ("
        "ts DateTime('UTC') COMMENT 'end of the granularity period', "
        "element LowCardinality(String) COMMENT 'distinguished name of the managed element', "
        "object LowCardinality(String) COMMENT 'measObjLdn', "
        "gp_s UInt32 COMMENT 'granularity period', "
        "suspect UInt8, "
        "ver Int64 COMMENT 'of the file: the newer one wins', "
        "part UInt32 COMMENT 'checksum of the counters it came with: others of the same file replace nothing'"
        ") ENGINE = ReplacingMergeTree PARTITION BY toYYYYMMDD(ts) ORDER BY (element, object, ts, gp_s, ver, part) "
        f"{expire}SETTINGS ttl_only_drop_parts = 1, "
        "non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000"
    )


def _view(table: str, counters: Mapping[str, Kind]) -> str:
    """Each counter from the newest file that has it; a query reads only the columns it names."""
    newest = [f"argMaxIf(r.{quoted(c)}, r.ver, isNotNull(r.{quoted(c)})) AS {quoted(c)}" for c in sorted(counters)]
    columns = ["argMax(r.suspect, r.ver) AS suspect", "max(r.ver) AS ver", *newest]
    return (
        f"CREATE OR REPLACE VIEW {quoted(table)} AS SELECT {', '.join(f'r.{k} AS {k}' for k in KEYS)}, "
        f"{', '.join(columns)} FROM {quoted(table + ROWS)} AS r GROUP BY {', '.join(f'r.{k}' for k in KEYS)}"
    )


def quoted(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
