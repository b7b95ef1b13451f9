"""SQL that creates and alters tables and views. Pure: text made from the present and the wanted state of a table.

Each measurement group has one wide table. Rows of different versions of a file stay apart, and so do rows of one file
with different counters: `ver` and `part` are in the sorting key, so only a repeated delivery replaces its rows. The
view with the table's plain name takes each counter from the newest file that has it, as MySQL does on writing
(docs/decisions/0017-versions.md).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.sinks.names import KEY_COLUMNS, OBJECT_TABLE
from shared.sinks.values import ColumnKind

ROWS_SUFFIX = "_rows"
"""Suffix of the table behind the view of the plain name."""
COLUMN_TYPES: Mapping[ColumnKind, str] = {
    "number": "Nullable(Float64)",
    "integer": "Nullable(Int64)",
    "vector": "Nullable(String)",
    "text": "Nullable(String)",
}
KIND_OF_TYPE: Mapping[str, ColumnKind] = {COLUMN_TYPES[kind]: kind for kind in ("number", "integer")}
"""Every other type is text, which holds vectors too."""
ROW_KEY = ("ts", "element", "object", "gp_s")
"""The columns that identify a row in the view."""
TABLE_COLUMNS = """SELECT name, type, comment FROM system.columns
WHERE database = currentDatabase() AND table = {name:String}"""
"""The query for the columns of a table or view."""
TABLE_ENGINE = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
"""The query for a table's engine; no row if the table does not exist."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The servers that a statement is for, and the engine of their tables."""

    cluster: str = ""
    """Empty: the connected server only."""
    engine: str = "ReplacingMergeTree"

    @property
    def on(self) -> str:
        """The ON CLUSTER clause, with a leading space; empty without a cluster."""
        return f" ON CLUSTER {quoted_identifier(self.cluster)}" if self.cluster else ""

    def engine_with_version(self, column: str) -> str:
        """Returns the engine of a table in which the row with the largest value in a column wins.

        >>> engine = "ReplicatedReplacingMergeTree('/pm/{table}', '{replica}')"
        >>> Deployment(engine=engine).engine_with_version("ver")
        "ReplicatedReplacingMergeTree('/pm/{table}', '{replica}', ver)"
        """
        name, _, arguments = self.engine.removesuffix(")").partition("(")
        return f"{name}({', '.join(filter(None, (arguments, column)))})"


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """The column that stores one counter."""

    kind: ColumnKind
    comment: str = ""


@dataclass(frozen=True, slots=True)
class TableState:
    """The state of a table, present or wanted."""

    name: str
    """Name of the view; the table behind it has a suffix."""
    group: str
    columns: Mapping[str, ColumnDefinition]
    retention_days: int = 0
    """0: rows are kept for ever."""
    exists: bool = True
    in_view: Mapping[str, ColumnKind] | None = None
    """Counters that the view shows; None if there is no view."""


ColumnRows = Sequence[Sequence[str]]
"""The server's answer to TABLE_COLUMNS: name, type, comment."""


def table_state(
    name: str, group: str, engine: Sequence[Sequence[str]], in_table: ColumnRows, in_view: ColumnRows
) -> TableState:
    """Returns the present state of a table from the server's answers to TABLE_ENGINE and TABLE_COLUMNS."""
    days = ttl_days(engine[0][0]) if engine else 0
    viewed = {column: found.kind for column, found in _counters(in_view).items()} if in_view else None
    return TableState(name, group, _counters(in_table), days, bool(engine), viewed)


def _counters(columns: ColumnRows) -> dict[str, ColumnDefinition]:
    return {
        name: ColumnDefinition(KIND_OF_TYPE.get(kind, "text"), comment)
        for name, kind, comment in columns
        if name not in KEY_COLUMNS
    }


def create_database(name: str, deployment: Deployment) -> str:
    """Returns the statement that creates the database."""
    return f"CREATE DATABASE IF NOT EXISTS {quoted_identifier(name)}{deployment.on}"


def create_object_table(deployment: Deployment) -> str:
    """Returns the statement that creates the table of the object dictionary."""
    return (
        f"CREATE TABLE IF NOT EXISTS {OBJECT_TABLE}{deployment.on} ("
        "`system` LowCardinality(String), "
        "element LowCardinality(String) COMMENT 'distinguished name of the managed element', "
        "object String COMMENT 'measObjLdn', "
        "dn Map(LowCardinality(String), String) COMMENT 'the parts of measObjLdn: class, value'"
        f") ENGINE = {deployment.engine} ORDER BY (`system`, element, object)"
    )


def next_statements(present: TableState, wanted: TableState, deployment: Deployment) -> list[str]:
    """Returns the statements that bring a table nearer to the wanted state; none if it is in that state.

    `wanted` names only the columns that are missing or too narrow; all others stay. The view comes in a later round,
    with all columns that exist by then, as another writer may have added some.
    """
    statements = [] if present.exists else [_create_table(wanted, deployment)]
    if changes := _column_changes(present, wanted) + _ttl_changes(present, wanted):
        table = quoted_identifier(wanted.name + ROWS_SUFFIX)
        statements.append(f"ALTER TABLE {table}{deployment.on} {', '.join(changes)}")
    if not statements and present.in_view != {column: found.kind for column, found in present.columns.items()}:
        return [_create_view(present, deployment)]
    return statements


def _column_changes(present: TableState, wanted: TableState) -> list[str]:
    return [
        f"MODIFY COLUMN {quoted_identifier(column)} {COLUMN_TYPES[to.kind]}"
        if column in present.columns
        else f"ADD COLUMN IF NOT EXISTS {quoted_identifier(column)} {COLUMN_TYPES[to.kind]} "
        f"{_comment(to.comment)}CODEC(ZSTD(1))"
        for column, to in wanted.columns.items()
    ]


def _ttl_changes(present: TableState, wanted: TableState) -> list[str]:
    if not present.exists or present.retention_days == wanted.retention_days:
        return []
    return [f"MODIFY {_ttl(wanted.retention_days)}" if wanted.retention_days else "REMOVE TTL"]


def ttl_days(engine: str) -> int:
    """Returns the retention of a table, in days, from the server's description of its engine.

    >>> ttl_days("ReplacingMergeTree ORDER BY ts TTL ts + toIntervalDay(30) SETTINGS index_granularity = 8192")
    30
    """
    found = re.search(r"\bTTL ts \+ toIntervalDay\((\d+)\)", engine)
    return int(found[1]) if found else 0


def column_comment(column: str, counter: str, unit: str) -> str:
    """Returns what the column's name does not show: the counter's name if it differs, and the unit.

    >>> column_comment("ts_27e4a1", "ts", "octets")
    'ts, octets'
    """
    return ", ".join(part for part in (counter if counter != column else "", unit) if part)


def _create_table(table: TableState, deployment: Deployment) -> str:
    ttl = f"{_ttl(table.retention_days)} " if table.retention_days else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted_identifier(table.name + ROWS_SUFFIX)}{deployment.on} ("
        "ts DateTime('UTC') COMMENT 'end of the granularity period', "
        "element LowCardinality(String) COMMENT 'distinguished name of the managed element', "
        "object LowCardinality(String) COMMENT 'measObjLdn', "
        "gp_s UInt32 COMMENT 'granularity period', "
        "suspect UInt8, "
        "ver Int64 COMMENT 'of the file: the newer one wins', "
        "part UInt32 COMMENT 'checksum of the counters it came with: others of the same file replace nothing'"
        f") ENGINE = {deployment.engine} PARTITION BY toYYYYMMDD(ts) ORDER BY (element, object, ts, gp_s, ver, part) "
        f"{ttl}SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, "
        # Only large data parts store each column in a file of its own: files for 200 columns are half an insert's cost.
        "min_bytes_for_wide_part = 67108864, "
        "non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000 "
        f"{_comment(table.group)}".rstrip()
    )


def _create_view(table: TableState, deployment: Deployment) -> str:
    """Returns the view that takes each counter from the newest file; a query reads only the columns that it names."""
    counters = map(quoted_identifier, sorted(table.columns))
    newest = [f"argMaxIf(r.{c}, r.ver, isNotNull(r.{c})) AS {c}" for c in counters]
    keys = [f"r.{key} AS {key}" for key in ROW_KEY]
    columns = [*keys, "argMax(r.suspect, r.ver) AS suspect", "max(r.ver) AS ver", *newest]
    return (
        f"CREATE OR REPLACE VIEW {quoted_identifier(table.name)}{deployment.on} AS SELECT {', '.join(columns)} "
        f"FROM {quoted_identifier(table.name + ROWS_SUFFIX)} AS r GROUP BY {', '.join(f'r.{key}' for key in ROW_KEY)}"
    )


def _ttl(days: int) -> str:
    return f"TTL ts + INTERVAL {days} DAY"


def _comment(text: str) -> str:
    return f"COMMENT {string_literal(text)} " if text else ""


def quoted_identifier(name: str) -> str:
    """Returns a name of a table or column, quoted for SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string_literal(text: str) -> str:
    """Returns a text, quoted for SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
