"""Compares sums over what the databases hold with the same sums over what the elements wrote.

This takes seconds where a comparison value by value would take minutes. Sums are of remainders, so that a few huge
values do not hide a wrong small one behind the rounding of floating point.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fmod, isclose
from typing import Any, NamedTuple

from services.ch_bridge.operate import clickhouse_of, client_of
from services.ch_bridge.operate import quoted_identifier as quoted_by_clickhouse
from services.mysql_writer.operate import connect, mysql_of
from shared.settings import Settings
from tools.simulator.truth_row import TruthRow, Value

DIVISOR = 1_000_003
TOLERANCE = 1e-3
"""Largest difference of two totals that rounding may cause; a value that is wrong by less is not noticed."""
COUNTERS_PER_QUERY = 500


class CounterSum(NamedTuple):
    """The values of one counter together."""

    values: int = 0
    """Number of values that are not missing."""
    total: float = 0.0
    """Sum of the remainders of numbers, and of the lengths of vectors."""

    def plus(self, other: "CounterSum") -> "CounterSum":
        return CounterSum(self.values + other.values, self.total + other.total)


CounterKey = tuple[str, str, str]
"""System, group, counter."""
ElementKey = tuple[str, str, str]
"""System, group, distinguished name of the element."""


@dataclass
class Sums:
    """Sums over rows: by counter for all elements together, and rows by element."""

    counters: dict[CounterKey, CounterSum] = field(default_factory=dict)
    rows: Counter[ElementKey] = field(default_factory=Counter)

    @property
    def values(self) -> int:
        return sum(found.values for found in self.counters.values())

    def add(self, other: "Sums") -> None:
        """Adds the sums over other rows."""
        for key, found in other.counters.items():
            self.counters[key] = self.counters.get(key, CounterSum()).plus(found)
        self.rows.update(other.rows)


def measure(value: Value) -> float:
    """Returns what a value adds to its counter's total.

    >>> measure("-2.5"), measure("2000007"), measure(["1", None])
    (-2.5, 1.0, 2)
    """
    if isinstance(value, list):
        return len(value)
    return fmod(float(value or 0), DIVISOR)


def sums_of(rows: Iterable[TruthRow]) -> Sums:
    """Returns the sums over what an element wrote."""
    sums = Sums()
    for row in rows:
        sums.rows[row.system, row.group, row.element] += 1
        for counter, value in row.values.items():
            if value is not None:
                key = (row.system, row.group, counter)
                sums.counters[key] = sums.counters.get(key, CounterSum()).plus(CounterSum(1, measure(value)))
    return sums


def differences(expected: Sums, stored: Sums) -> list[str]:
    """Returns a line for each sum that is not the expected one; none if everything is right."""
    rows = [
        f"{'/'.join(key)}: {stored.rows[key]:,} rows, not {expected.rows[key]:,}"
        for key in sorted(expected.rows.keys() | stored.rows.keys())
        if stored.rows[key] != expected.rows[key]
    ]
    none = CounterSum()
    pairs = (
        (key, stored.counters.get(key, none), expected.counters.get(key, none))
        for key in sorted(expected.counters.keys() | stored.counters.keys())
    )
    return rows + [
        f"{'/'.join(key)}: {found.values:,} values, total {found.total:,.3f}; "
        f"not {wanted.values:,} values, total {wanted.total:,.3f}"
        for key, found, wanted in pairs
        if found.values != wanted.values or not isclose(found.total, wanted.total, rel_tol=0, abs_tol=TOLERANCE)
    ]


Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query and returns its rows."""


class Column(NamedTuple):
    """The column of a counter."""

    group: tuple[str, str]
    """System and group."""
    counter: str
    table: str
    name: str
    is_number: bool


def in_mysql(settings: Settings) -> Sums:
    """Returns the sums over what MySQL holds."""
    mysql = mysql_of(settings)
    with connect(mysql, mysql.database) as connection, connection.cursor() as cursor:

        def ask(sql: str) -> Sequence[Sequence[Any]]:
            cursor.execute(sql)
            return list(cursor.fetchall())

        columns = [
            Column((system, group), counter, table, f"`{column}`", kind in {"double", "bigint"})
            for system, group, counter, table, column, kind in ask(MYSQL_COLUMNS)
        ]
        sums = Sums(counted_columns(columns, "{0} % {1}", "JSON_LENGTH({0})", ask))
        for group, tables in tables_of(columns).items():
            keys = " UNION ".join(f"SELECT obj, ts, gp_s FROM `{table}`" for table in tables)
            for element, rows in ask(
                f"SELECT o.element, COUNT(*) FROM ({keys}) r JOIN pm_object o ON o.id = r.obj GROUP BY o.element"
            ):
                sums.rows[*group, str(element)] = int(rows)
    return sums


MYSQL_COLUMNS = """SELECT g.`system`, g.measinfo, c.counter, c.`table_name`, c.`column_name`, i.data_type
FROM pm_counter c
JOIN pm_group g ON g.`table_name` = c.`table_name` AND g.part > 0
JOIN information_schema.columns i ON i.table_schema = DATABASE() AND i.table_name = c.`table_name`
    AND i.column_name = c.`column_name`"""


def in_clickhouse(settings: Settings) -> Sums:
    """Returns the sums over what ClickHouse holds."""
    with client_of(clickhouse_of(settings)) as client:

        def ask(sql: str) -> Sequence[Sequence[Any]]:
            return client.query(sql).result_rows

        columns = [
            Column((system, group), counter, table, quoted_by_clickhouse(column), "Float64" in kind or "Int64" in kind)
            for system, group, counter, table, column, kind in ask(CLICKHOUSE_COLUMNS)
        ]
        sums = Sums(counted_columns(columns, "{0} % {1}", "JSONLength({0})", ask))
        for group, tables in tables_of(columns).items():
            for table in tables:
                for element, rows in ask(
                    f"SELECT element, count() FROM {quoted_by_clickhouse(table)} GROUP BY element"
                ):
                    sums.rows[*group, str(element)] = int(rows)
    return sums


CLICKHOUSE_COLUMNS = """SELECT g.system, g.measinfo, c.counter, c.table_name, c.column_name, i.type
FROM pm_counter c
JOIN pm_group g ON g.table_name = c.table_name
JOIN system.columns i ON i.database = currentDatabase() AND i.table = c.table_name AND i.name = c.column_name"""


def tables_of(columns: Iterable[Column]) -> Mapping[tuple[str, str], list[str]]:
    """Returns the tables of each group."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for column in columns:
        found.setdefault(column.group, {})[column.table] = None
    return {group: list(tables) for group, tables in found.items()}


def counted_columns(columns: Sequence[Column], number: str, vector: str, ask: Ask) -> dict[CounterKey, CounterSum]:
    """Returns the sums by counter.

    Args:
        columns: the columns of all tables.
        number: SQL of a number's share in the total; {0} is the column and {1} the divisor.
        vector: SQL of a vector's.
        ask: runs a query.
    """
    found: dict[CounterKey, CounterSum] = {}
    for table, of_table in portions(columns):
        shares = [
            (column, (number if column.is_number else vector).format(column.name, DIVISOR)) for column in of_table
        ]
        picked = ", ".join(f"COUNT({column.name}), SUM({share})" for column, share in shares)
        row = ask(f"SELECT {picked} FROM `{table}`")[0]
        for column, values, total in zip(of_table, row[::2], row[1::2], strict=True):
            if values:
                found[*column.group, column.counter] = CounterSum(int(values), float(total))
    return found


def portions(columns: Iterable[Column]) -> Iterator[tuple[str, list[Column]]]:
    """Yields the columns by table, as many at a time as one query may ask for."""
    by_table: dict[str, list[Column]] = {}
    for column in columns:
        by_table.setdefault(column.table, []).append(column)
    for table, found in by_table.items():
        for at in range(0, len(found), COUNTERS_PER_QUERY):
            yield table, found[at : at + COUNTERS_PER_QUERY]
