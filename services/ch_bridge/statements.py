"""What is said to ClickHouse to make and change tables. Pure: text out of what there is and what there must be.

A wide table for each measurement group. Rows of every version of a file stay apart, and so do rows of one file with
other counters (`ver` and `part` are in the sorting key, so only a repeated delivery replaces its rows); the view of the
table's plain name takes each counter from the newest file that has it, as MySQL does on writing
(docs/decisions/0017-versions.md).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.sinks.names import KEY_COLUMNS
from shared.sinks.values import Kind

ROWS = "_rows"
"""Suffix of the table behind the view of the plain name."""
OBJECTS = "pm_object"
"""The object dictionary."""
TYPES: Mapping[Kind, str] = {
    "number": "Nullable(Float64)",
    "integer": "Nullable(Int64)",
    "vector": "Nullable(String)",
    "text": "Nullable(String)",
}
KINDS: Mapping[str, Kind] = {TYPES[kind]: kind for kind in ("number", "integer")}
"""All else is text, which holds vectors too."""
KEYS = ("ts", "element", "object", "gp_s")


@dataclass(frozen=True, slots=True)
class Where:
    """The servers a statement is for."""

    cluster: str = ""
    """None: the one that is asked."""
    engine: str = "ReplacingMergeTree"

    @property
    def on(self) -> str:
        return f" ON CLUSTER {quoted(self.cluster)}" if self.cluster else ""

    def replacing_by(self, column: str) -> str:
        """The engine, for a table in which the largest value of a column wins.

        >>> Where(engine="ReplicatedReplacingMergeTree('/pm/{table}', '{replica}')").replacing_by("ver")
        "ReplicatedReplacingMergeTree('/pm/{table}', '{replica}', ver)"
        """
        name, _, arguments = self.engine.removesuffix(")").partition("(")
        return f"{name}({', '.join(filter(None, (arguments, column)))})"


@dataclass(frozen=True, slots=True)
class Column:
    """A counter's."""

    kind: Kind
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """As it is, or as it must be."""

    name: str
    """Of the view; the table behind it has a suffix."""
    group: str
    columns: Mapping[str, Column]
    retention_days: int = 0
    """0: for ever."""
    is_there: bool = True
    in_view: Mapping[str, Kind] | None = None
    """The counters that its view has; None without a view."""


Described = Sequence[Sequence[str]]
"""Of columns: name, type, comment, as the server says."""


def table(name: str, group: str, engine: Sequence[Sequence[str]], of_rows: Described, of_view: Described) -> Table:
    """What the server says is there; the engine is one text, or none without a table."""
    days = retention_days(engine[0][0]) if engine else 0
    in_view = {column: found.kind for column, found in _counters(of_view).items()} if of_view else None
    return Table(name, group, _counters(of_rows), days, bool(engine), in_view)


def _counters(columns: Described) -> dict[str, Column]:
    return {name: Column(KINDS.get(kind, "text"), said) for name, kind, said in columns if name not in KEY_COLUMNS}


def database(name: str, where: Where) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {quoted(name)}{where.on}"


def objects(where: Where) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {OBJECTS}{where.on} ("
        "`system` LowCardinality(String), "
        "element LowCardinality(String) COMMENT 'distinguished name of the managed element', "
        "object String COMMENT 'measObjLdn', "
        "dn Map(LowCardinality(String), String) COMMENT 'the parts of measObjLdn: class, value'"
        f") ENGINE = {where.engine} ORDER BY (`system`, element, object)"
    )


def steps(there: Table, wanted: Table, where: Where) -> list[str]:
    """What brings a table nearer to what it must be; none when it is that.

    Wanted are only columns that are missing or too narrow; all others stay. The view comes last, made of all columns
    that are there by then: another writer may have added some.
    """
    made = [] if there.is_there else [_create(wanted, where)]
    changes = [
        f"MODIFY COLUMN {quoted(column)} {TYPES[to.kind]}"
        if column in there.columns
        else f"ADD COLUMN IF NOT EXISTS {quoted(column)} {TYPES[to.kind]} {_comment(to.comment)}CODEC(ZSTD(1))"
        for column, to in wanted.columns.items()
    ]
    if there.is_there and there.retention_days != wanted.retention_days:
        changes.append(f"MODIFY {_expire(wanted.retention_days)}" if wanted.retention_days else "REMOVE TTL")
    if changes:
        made.append(f"ALTER TABLE {quoted(wanted.name + ROWS)}{where.on} {', '.join(changes)}")
    if not made and there.in_view != {column: found.kind for column, found in there.columns.items()}:
        return [_view(there, where)]
    return made


def retention_days(engine: str) -> int:
    """Of a table, by what the server says of its engine.

    >>> retention_days("ReplacingMergeTree ORDER BY ts TTL ts + toIntervalDay(30) SETTINGS index_granularity = 8192")
    30
    """
    found = re.search(r"\bTTL ts \+ toIntervalDay\((\d+)\)", engine)
    return int(found[1]) if found else 0


def comment(column: str, counter: str, unit: str) -> str:
    """What a reader cannot tell from the column's name.

    >>> comment("ts_27e4a1", "ts", "octets")
    'ts, octets'
    """
    return ", ".join(part for part in (counter if counter != column else "", unit) if part)


def _create(table: Table, where: Where) -> str:
    expire = f"{_expire(table.retention_days)} " if table.retention_days else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(table.name + ROWS)}{where.on} ("
        "ts DateTime('UTC') COMMENT 'end of the granularity period', "
        "element LowCardinality(String) COMMENT 'distinguished name of the managed element', "
        "object LowCardinality(String) COMMENT 'measObjLdn', "
        "gp_s UInt32 COMMENT 'granularity period', "
        "suspect UInt8, "
        "ver Int64 COMMENT 'of the file: the newer one wins', "
        "part UInt32 COMMENT 'checksum of the counters it came with: others of the same file replace nothing'"
        f") ENGINE = {where.engine} PARTITION BY toYYYYMMDD(ts) ORDER BY (element, object, ts, gp_s, ver, part) "
        f"{expire}SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, "
        # only large parts have files for each column: two for each of 200 counters are half of what an insert costs
        "min_bytes_for_wide_part = 67108864, "
        "non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000 "
        f"{_comment(table.group)}".rstrip()
    )


def _view(table: Table, where: Where) -> str:
    """Each counter from the newest file that has it; a query reads only the columns it names."""
    newest = [f"argMaxIf(r.{quoted(c)}, r.ver, isNotNull(r.{quoted(c)})) AS {quoted(c)}" for c in sorted(table.columns)]
    columns = ["argMax(r.suspect, r.ver) AS suspect", "max(r.ver) AS ver", *newest]
    return (
        f"CREATE OR REPLACE VIEW {quoted(table.name)}{where.on} AS SELECT {', '.join(f'r.{k} AS {k}' for k in KEYS)}, "
        f"{', '.join(columns)} FROM {quoted(table.name + ROWS)} AS r GROUP BY {', '.join(f'r.{k}' for k in KEYS)}"
    )


def _expire(days: int) -> str:
    return f"TTL ts + INTERVAL {days} DAY"


def _comment(text: str) -> str:
    return f"COMMENT {string(text)} " if text else ""


def quoted(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string(text: str) -> str:
    """A literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
