"""What the bridge asks of ClickHouse: tables as its rows need them, the object dictionary, and rows."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from services.ch_bridge import statements
from services.ch_bridge.columns import Columns
from services.ch_bridge.connection import Connection
from services.ch_bridge.settings import Clickhouse, Rules
from services.ch_bridge.statements import OBJECTS, ROWS, Column, Table
from shared.errors import Hopeless, Unreachable
from shared.sinks import metrics
from shared.sinks.dn import split
from shared.sinks.landing import NOT_ALLOWED, RefusedCounters
from shared.sinks.values import kind_of, widened

log = logging.getLogger(__name__)

ROUNDS = 5
"""Of reading a table and changing it."""
TABLE_COLUMNS = """SELECT name, type, comment FROM system.columns
WHERE database = currentDatabase() AND table = {name:String}"""
TABLE_ENGINE = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
Object = tuple[str, str]
"""Element, ldn."""


class ClickHouse:
    """One connection, one owner. Raises (all methods) as `Connection` does."""

    def __init__(
        self, settings: Clickhouse, rules: Callable[[str], Rules] = lambda _: Rules(), *, drop_repeats: bool = True
    ) -> None:
        """`rules`: of a system, by its name, as they are now.

        `drop_repeats`: an insert the server has seen is dropped by its token, even if its rows are gone since.
        """
        self.connection = Connection(settings)
        self.where = self.connection.where
        self.rules = rules
        self.drop_repeats = drop_repeats
        self.tables: dict[str, Table] = {}
        self.objects: dict[str, set[Object]] = {}
        """By system, those that are in the dictionary."""

    def check(self) -> None:
        """Does it answer?"""
        self.connection.do("SELECT 1")

    def close(self) -> None:
        self.connection.close()

    def insert(self, rows: Columns) -> None:
        """Rows of one table, which is made or widened where it must be."""
        try:
            self._insert(rows)
        except RefusedCounters:
            raise
        except (Hopeless, Unreachable):  # somebody may have changed the tables
            self.tables.clear()
            self.objects.clear()
            raise

    def _insert(self, rows: Columns) -> None:
        rules = self.rules(rows.system)
        if rules.split_dn:
            self._tell_objects(rows)
        columns = self._table(rows, rules).columns
        cells = {column: rows.cells(column, columns[column].kind) for column in rows.counters}
        self._send(rows.table + ROWS, {**rows.keys, **cells})

    def _tell_objects(self, rows: Columns) -> None:
        """The dictionary gets those this process meets for the first time."""
        there = self.objects.setdefault(rows.system, set())
        new = sorted(rows.objects() - there)
        if new:
            if not there and not self.connection.ask(TABLE_ENGINE, name=OBJECTS):
                self.connection.do(statements.objects(self.where))
            self._send(OBJECTS, described(rows.system, new))
            there.update(new)

    def _table(self, rows: Columns, rules: Rules) -> Table:
        """It has what these rows need: read, changed and read again until then, as others may change it meanwhile."""
        there = self.tables.get(rows.table)
        if there and not statements.steps(there, wanted_of(rows, there, rules), self.where):
            return there
        for _ in range(ROUNDS):
            there = self._read(rows.table, rows.group)
            wanted = wanted_of(rows, there, rules)
            steps = statements.steps(there, wanted, self.where)
            if not steps:
                self.tables[rows.table] = there
                return there
            unknown = wanted.columns.keys() - there.columns.keys()
            if unknown and not rules.add_columns:
                raise RefusedCounters({(rows.system, rows.group, rows.counters[c]): NOT_ALLOWED for c in unknown})
            for step in steps:
                self.connection.do(step)
            added, changed = len(unknown), len(wanted.columns) - len(unknown)
            metrics.SCHEMA_CHANGES.labels("clickhouse", "column added").inc(added)
            metrics.SCHEMA_CHANGES.labels("clickhouse", "column widened").inc(changed)
            if wanted.columns:
                log.info("columns made", extra={"table": rows.table, "added": added, "widened": changed})
        raise Unreachable(f"ClickHouse: {rows.table} does not become what it must be")

    def _read(self, name: str, group: str) -> Table:
        engine = self.connection.ask(TABLE_ENGINE, name=name + ROWS)
        of_rows, of_view = (self.connection.ask(TABLE_COLUMNS, name=table) for table in (name + ROWS, name))
        return statements.table(name, group, engine, of_rows, of_view)

    def _send(self, table: str, arrays: Mapping[str, pa.Array]) -> None:
        body = _arrow(pa.table(dict(arrays)))
        settings: dict[str, Any] = {
            "optimize_on_insert": 0,  # merges look for rows to replace, the insert need not
            "max_partitions_per_insert_block": 0,  # none is too many: a replay may bring any number of days
        }
        if self.drop_repeats:
            settings["insert_deduplication_token"] = hashlib.sha256(body).hexdigest()
        else:
            settings["insert_deduplicate"] = 0
        self.connection.insert(table, list(arrays), body, settings)


def wanted_of(rows: Columns, there: Table, rules: Rules) -> Table:
    """What these rows need of the table: columns that are missing, or do not hold their values."""
    columns = {column: to for column, to in _needed(rows, there) if there.columns.get(column) != to}
    days = there.retention_days if rules.retention_days is None else rules.retention_days
    return Table(there.name, there.group, columns, days)


def _needed(rows: Columns, there: Table) -> Iterator[tuple[str, Column]]:
    for column, counter in rows.counters.items():
        found = there.columns.get(column)
        if found is None:
            declared, unit = rows.said(column)
            kind = kind_of(rows.content(column), declared)
            yield column, Column(kind, statements.comment(column, counter, unit))
        elif found.kind != "number" or rows.numbers[column] is None:
            yield column, Column(widened(found.kind, rows.content(column)), found.comment)


def described(system: str, objects: Sequence[Object]) -> dict[str, pa.Array]:
    """Rows of the object dictionary."""
    return {
        "system": pa.array([system] * len(objects)),
        "element": pa.array([element for element, _ in objects]),
        "object": pa.array([ldn for _, ldn in objects]),
        "dn": pa.array([list(split(ldn).items()) for _, ldn in objects], pa.map_(pa.string(), pa.string())),
    }


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return bytes(sink.getvalue())
