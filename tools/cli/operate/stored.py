"""Reads the rows stored in MySQL and in ClickHouse, as any other reader of the databases would."""

import calendar
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal
from math import inf
from typing import Any

import orjson
from pymysql.cursors import DictCursor, SSDictCursor

from services.ch_bridge.operate import Clickhouse, client_of, quoted_identifier
from services.mysql_writer.operate import Mysql, connect
from shared.sinks.values import EXACT_INTEGER

NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
INTEGER = re.compile(r"-?\d+")
RowKey = tuple[str, str, str, str, int, int]
"""The key of a row: system, group, element, object, end_s, gp_s."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored row: its values by counter, without the missing ones."""

    key: RowKey
    suspect: bool
    values: Mapping[str, Any]


def in_mysql(settings: Mysql) -> Iterator[StoredRow]:
    """Yields all rows of all systems.

    The catalogue names tables and columns. A group's tables are read one by one, as no view has all columns of a group
    with thousands of counters.
    """
    with (
        connect(settings, settings.database) as connection,
        connection.cursor(DictCursor) as cursor,
        connection.cursor(SSDictCursor) as rows,
    ):
        cursor.execute("SELECT id, element, ldn FROM pm_object")
        objects = {found["id"]: (found["element"], found["ldn"]) for found in cursor.fetchall()}
        for group, tables in _mysql_tables(cursor).items():
            found: dict[RowKey, StoredRow] = {}
            for table, columns in tables.items():
                rows.execute(f"SELECT * FROM `{table}`")  # noqa: S608 - a name pmflow gave
                for row in rows:
                    key = (*group, *objects[row["obj"]], calendar.timegm(row["ts"].timetuple()), row["gp_s"])
                    part = StoredRow(key, bool(row["suspect"]), _values(row, columns))
                    found[key] = _joined(found[key], part) if key in found else part
            yield from found.values()


def _mysql_tables(cursor: DictCursor) -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    """Returns the tables that exist, by group, and the counters of their columns."""
    cursor.execute(
        "SELECT DISTINCT g.`system` AS name, g.measinfo, g.part, g.`table_name` AS tab FROM pm_group g "
        "JOIN information_schema.tables t ON t.table_schema = DATABASE() AND t.table_name = g.`table_name` "
        "WHERE g.part > 0 ORDER BY g.part"
    )
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    by_table: dict[str, dict[str, str]] = {}
    for group in cursor.fetchall():
        by_table[group["tab"]] = found.setdefault((group["name"], group["measinfo"]), {})[group["tab"]] = {}
    cursor.execute("SELECT `table_name` AS tab, counter, `column_name` AS col FROM pm_counter")
    for column in cursor.fetchall():
        by_table.get(column["tab"], {})[column["col"]] = column["counter"]
    return found


def _values(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values of a row by counter, without the missing ones."""
    return {columns[column]: value for column, value in row.items() if column in columns and value is not None}


def _joined(first: StoredRow, other: StoredRow) -> StoredRow:
    return replace(first, values={**first.values, **other.values})


def in_clickhouse(settings: Clickhouse, system: str, groups: Collection[str]) -> Iterator[StoredRow]:
    """Yields all rows of a system's groups; the catalogue names tables and columns."""
    with client_of(settings) as client:
        tables = client.query(
            "SELECT measinfo, table_name FROM pm_group WHERE system = {system:String} "
            "AND table_name IN (SELECT name FROM system.tables WHERE database = currentDatabase())",
            parameters={"system": system},
        ).result_rows
        for group, table in tables:
            if group not in groups:
                continue
            found = client.query(
                "SELECT column_name, counter FROM pm_counter WHERE table_name = {table:String}",
                parameters={"table": table},
            ).result_rows
            columns = {str(column): str(counter) for column, counter in found}
            for row in client.query(f"SELECT * FROM {quoted_identifier(table)}").named_results():  # noqa: S608 - a name pmflow gave
                end_s = int(row["ts"].replace(tzinfo=UTC).timestamp())
                key = (system, group, row["element"], row["object"], end_s, row["gp_s"])
                yield StoredRow(key, bool(row["suspect"]), _values(row, columns))


def canonical(value: Any) -> Any:
    """Returns a value in a form that can be compared: numbers as int or float, vectors as lists.

    A float that is too large for a fraction is the integer of its shortest digits: databases write such digits where
    a column of numbers becomes one of text.

    >>> canonical("6.065734054098361e+16") == canonical("60657340540983610")
    True
    """
    match value:
        case str():
            return _canonical_text(value)
        case float():
            return _canonical_number(value)
        case list() | tuple():
            return [canonical(part) for part in value]
    return value


def _canonical_text(text: str) -> Any:
    if text.startswith("["):
        try:
            return canonical(orjson.loads(text))
        except orjson.JSONDecodeError:
            return text
    if INTEGER.fullmatch(text):
        return int(text)
    return _canonical_number(float(text)) if NUMBER.fullmatch(text) else text


def _canonical_number(number: float) -> int | float:
    return int(Decimal(repr(number))) if EXACT_INTEGER <= abs(number) < inf else number
