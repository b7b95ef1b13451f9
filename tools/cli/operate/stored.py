"""Reads the rows stored in MySQL and in ClickHouse, as any other reader of the databases would."""

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from math import inf
from typing import Any

import orjson
from pymysql.cursors import DictCursor, SSDictCursor

from services.ch_bridge.operate import Clickhouse, client_of
from services.mysql_writer.operate import Mysql, connect
from shared.sinks.names import KEY_COLUMNS, column_name, table_name
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
    """Yields all rows of all systems."""
    with (
        connect(settings, settings.database) as connection,
        connection.cursor(DictCursor) as cursor,
        connection.cursor(SSDictCursor) as rows,
    ):
        cursor.execute("SELECT id, element, ldn FROM pm_object")
        objects = {found["id"]: (found["element"], found["ldn"]) for found in cursor.fetchall()}
        cursor.execute(
            "SELECT `system`, measinfo, counter, `column_name` AS col "
            "FROM pm_counter JOIN pm_group USING (`table_name`)"
        )
        counters: dict[tuple[str, str], dict[str, str]] = {}
        for found in cursor.fetchall():
            counters.setdefault((found["system"], found["measinfo"]), {})[found["counter"]] = found["col"]
        cursor.execute("SELECT `system`, measinfo, `table_name` AS name FROM pm_group ORDER BY part DESC")
        # A view comes after the tables it combines and replaces them here.
        readable = {(group["system"], group["measinfo"]): group for group in cursor.fetchall()}
        for of_group, group in readable.items():
            rows.execute(f"SELECT * FROM `{group['name']}`")  # noqa: S608 - a name pmflow gave
            for row in rows:
                end_s = calendar.timegm(row["ts"].timetuple())
                key = (*of_group, *objects[row["obj"]], end_s, row["gp_s"])
                named = {counter: row[column] for counter, column in counters.get(of_group, {}).items()}
                yield StoredRow(key, bool(row["suspect"]), {c: v for c, v in named.items() if v is not None})


def in_clickhouse(settings: Clickhouse, system: str, groups: Mapping[str, set[str]]) -> Iterator[StoredRow]:
    """Yields all rows of a system's groups.

    The names of the counters are needed because ClickHouse keeps only the names of the columns.
    """
    with client_of(settings) as client:
        present = {
            row[0]
            for row in client.query("SELECT name FROM system.tables WHERE database = currentDatabase()").result_rows
        }
        for group, counters in groups.items():
            table = table_name(system, group)
            if table not in present:
                continue
            named = {column_name(counter, ()): counter for counter in counters}
            for row in client.query(f"SELECT * FROM `{table}`").named_results():  # noqa: S608 - a name pmflow gave
                end_s = int(row["ts"].replace(tzinfo=UTC).timestamp())
                values = {
                    named.get(column, column): value
                    for column, value in row.items()
                    if column not in KEY_COLUMNS and value is not None
                }
                key = (system, group, row["element"], row["object"], end_s, row["gp_s"])
                yield StoredRow(key, bool(row["suspect"]), values)


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
