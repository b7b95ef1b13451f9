"""SQL that creates and alters tables and views. Pure: text made from the present and the wanted state of a table.

Each measurement group has one wide table. Rows of different versions of a file stay apart, and so do rows of one file
with different counters: `ver` and `part` are in the sorting key, so only a repeated delivery replaces its rows. The
view with the table's plain name takes each counter from the newest file that has it, as MySQL does on writing
(docs/decisions/0017-versions.md).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from services.ch_bridge.comments import column_comment, counter_of_comment, table_comment
from shared.sinks.names import KEY_COLUMNS, OBJECT_TABLE, GroupKey
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
COLUMNS_PER_STATEMENT = 1000
"""Most columns that one ALTER TABLE adds or changes."""
TABLE_COLUMNS = """SELECT name, type, comment FROM system.columns
WHERE database = currentDatabase() AND table = {name:String}"""
"""The query for the columns of a table or view."""
TABLE_ENGINE = """SELECT engine_full, comment, engine FROM system.tables
WHERE database = currentDatabase() AND name = {name:String}"""
"""The query for a table's engine with its arguments, comment and engine; no row if the table does not exist."""


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
class CounterColumn:
    """The column that stores one counter."""

    name: str
    kind: ColumnKind
    unit: str = ""


@dataclass(frozen=True, slots=True)
class TableState:
    """The state of a group's table, present or wanted."""

    name: str
    """Name of the view; the table behind it has a suffix."""
    group: GroupKey
    columns: Mapping[str, CounterColumn]
    """Columns by counter."""
    retention_days: int = 0
    """0: rows are kept for ever."""
    exists: bool = True
    in_view: Mapping[str, ColumnKind] | None = None
    """Kinds of the columns that the view shows; None if there is no view."""
    others: frozenset[str] = field(default=frozenset())
    """Columns of no counter, which somebody else added."""


ColumnRows = Sequence[Sequence[str]]
"""The server's answer to TABLE_COLUMNS: name, type, comment."""


def table_state(
    name: str, group: GroupKey, engine: Sequence[Sequence[str]], in_table: ColumnRows, in_view: ColumnRows
) -> TableState:
    """Returns the present state of a table from the server's answers to TABLE_ENGINE and TABLE_COLUMNS."""
    days = ttl_days(engine[0][0]) if engine else 0
    counters = {column: counter_of_comment(comment) for column, _, comment in in_table if column not in KEY_COLUMNS}
    columns = {
        found.counter: CounterColumn(column, KIND_OF_TYPE.get(kind, "text"), found.unit)
        for column, kind, _ in in_table
        if (found := counters.get(column))
    }
    others = frozenset(column for column, found in counters.items() if found is None)
    shown = {column: KIND_OF_TYPE.get(kind, "text") for column, kind, _ in in_view if column not in KEY_COLUMNS}
    return TableState(name, group, columns, days, bool(engine), shown if in_view else None, others)


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

    `wanted` names only the columns that are missing or too narrow; all others stay. A new table is read again before
    it gets columns, as its name may belong to another group by then. The view comes in a later round, with all columns
    that exist by then, as another writer may have added some.
    """
    if not present.exists:
        return [_create_table(wanted, deployment)]
    table = quoted_identifier(wanted.name + ROWS_SUFFIX)
    changes = iter([*_column_changes(present, wanted), *_ttl_changes(present, wanted)])
    statements = [
        f"ALTER TABLE {table}{deployment.on} {', '.join(some)}"
        for some in iter(lambda: list(islice(changes, COLUMNS_PER_STATEMENT)), [])
    ]
    if not statements and present.in_view != {column.name: column.kind for column in present.columns.values()}:
        return [_create_view(present, deployment)]
    return statements


def definition_size(table: TableState) -> int:
    """Returns about how many characters the longer of the definitions of a table and its view has."""
    return sum(100 + 4 * len(column.name) + len(counter) for counter, column in table.columns.items())


def _column_changes(present: TableState, wanted: TableState) -> Iterator[str]:
    """Yields the changes in the order of names: ClickHouse accepts `X.sub` after `X`, but not before it."""
    for counter, to in sorted(wanted.columns.items(), key=lambda item: item[1].name):
        column = f"{quoted_identifier(to.name)} {COLUMN_TYPES[to.kind]}"
        if counter in present.columns:
            yield f"MODIFY COLUMN {column}"
        else:
            comment = string_literal(column_comment(counter, to.unit))
            yield f"ADD COLUMN IF NOT EXISTS {column} COMMENT {comment} CODEC(ZSTD(1))"


def _ttl_changes(present: TableState, wanted: TableState) -> list[str]:
    if present.retention_days == wanted.retention_days:
        return []
    return [f"MODIFY {_ttl(wanted.retention_days)}" if wanted.retention_days else "REMOVE TTL"]


def ttl_days(engine: str) -> int:
    """Returns the retention of a table, in days, from the server's description of its engine.

    >>> ttl_days("ReplacingMergeTree ORDER BY ts TTL ts + toIntervalDay(30) SETTINGS index_granularity = 8192")
    30
    """
    found = re.search(r"\bTTL ts \+ toIntervalDay\((\d+)\)", engine)
    return int(found[1]) if found else 0


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
        "parsed_s UInt32 COMMENT 'when the file was parsed: of one file, the later parse wins', "
        "part UInt64 COMMENT 'digest of the counters it came with: others of the same file replace nothing'"
        f") ENGINE = {deployment.engine_with_version('parsed_s')} "
        "PARTITION BY toYYYYMMDD(ts) ORDER BY (element, object, ts, gp_s, ver, part) "
        f"{ttl}SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, "
        # Only large data parts store each column in a file of its own: files for 200 columns are half an insert's cost.
        "min_bytes_for_wide_part = 67108864, "
        "non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000 "
        f"COMMENT {string_literal(table_comment(table.group, table.name))}"
    )


def _create_view(table: TableState, deployment: Deployment) -> str:
    """Returns the view that takes each counter from the newest file; a query reads only the columns that it names.

    No column begins with an underscore, so `_r.ts` cannot be a column's name.
    """
    counters = (quoted_identifier(name) for name in sorted(column.name for column in table.columns.values()))
    newest = [f"argMaxIf(_r.{c}, _version, isNotNull(_r.{c})) AS {c}" for c in counters]
    keys = [f"_r.{key} AS {key}" for key in ROW_KEY]
    by = ", ".join(f"_r.{key}" for key in ROW_KEY)
    columns = [*keys, "argMax(_r.suspect, _version) AS suspect", "max(_r.ver) AS ver", *newest]
    return (
        f"CREATE OR REPLACE VIEW {quoted_identifier(table.name)}{deployment.on} AS "
        f"WITH bitShiftLeft(toInt128(_r.ver), 32) + _r.parsed_s AS _version SELECT {', '.join(columns)} "
        f"FROM {quoted_identifier(table.name + ROWS_SUFFIX)} AS _r GROUP BY {by} "
        f"COMMENT {string_literal(table_comment(table.group, table.name))}"
    )


def _ttl(days: int) -> str:
    return f"TTL ts + INTERVAL {days} DAY"


def quoted_identifier(name: str) -> str:
    """Returns a name of a table or column, quoted for SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string_literal(text: str) -> str:
    """Returns a text, quoted for SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
