"""Creates and alters tables when the rows of an insert or the system's retention need it."""

import logging
from collections.abc import Iterator

from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import (
    ROWS_SUFFIX,
    TABLE_COLUMNS,
    TABLE_ENGINE,
    ColumnDefinition,
    TableState,
    column_comment,
    next_statements,
    table_state,
)
from services.ch_bridge.render import ColumnarRows
from shared.errors import Unreachable
from shared.sinks import metrics
from shared.sinks.landing import NOT_ALLOWED, RefusedCounters
from shared.sinks.rules import StorageRules
from shared.sinks.values import column_kind, widened

log = logging.getLogger(__name__)

MOST_ROUNDS = 5
"""Most rounds of reading a table and altering it."""


class Schema:
    """The tables known so far, and the way to bring them to the state that rows need. It belongs to one thread."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tables: dict[str, TableState] = {}

    def forget(self) -> None:
        """Forgets everything, as another process may have changed the tables."""
        self.tables.clear()

    def table(self, rows: ColumnarRows, rules: StorageRules) -> TableState:
        """Returns the table of these rows once it has all they need.

        It is read, altered and read again until then, because other processes may alter it at the same time.

        Raises:
            RefusedCounters: some counters must not have a column.
            Unreachable: the server does not answer, or the table still lacks something after several rounds.
        """
        deployment = self.connection.deployment
        known = self.tables.get(rows.table)
        if known and not next_statements(known, wanted_state(rows, known, rules), deployment):
            return known
        for _ in range(MOST_ROUNDS):
            present = self._read(rows.table, rows.group)
            wanted = wanted_state(rows, present, rules)
            statements = next_statements(present, wanted, deployment)
            if not statements:
                self.tables[rows.table] = present
                return present
            unknown = wanted.columns.keys() - present.columns.keys()
            if unknown and not rules.add_columns:
                raise RefusedCounters({(rows.system, rows.group, rows.counters[c]): NOT_ALLOWED for c in unknown})
            for statement in statements:
                self.connection.do(statement)
            report_changes(rows.table, len(unknown), len(wanted.columns) - len(unknown))
        raise Unreachable(f"ClickHouse: table {rows.table} still lacks columns after {MOST_ROUNDS} attempts")

    def _read(self, name: str, group: str) -> TableState:
        engine = self.connection.ask(TABLE_ENGINE, name=name + ROWS_SUFFIX)
        in_table, in_view = (self.connection.ask(TABLE_COLUMNS, name=table) for table in (name + ROWS_SUFFIX, name))
        return table_state(name, group, engine, in_table, in_view)


def report_changes(table: str, added: int, widened: int) -> None:
    """Counts and logs columns that were added and widened."""
    metrics.SCHEMA_CHANGES.labels("clickhouse", "column added").inc(added)
    metrics.SCHEMA_CHANGES.labels("clickhouse", "column widened").inc(widened)
    if added or widened:
        log.info("columns changed", extra={"table": table, "added": added, "widened": widened})


def wanted_state(rows: ColumnarRows, present: TableState, rules: StorageRules) -> TableState:
    """Returns what these rows need of the table: columns that are missing or do not hold their values, and the TTL."""
    columns = {column: to for column, to in _needed(rows, present) if present.columns.get(column) != to}
    days = present.retention_days if rules.retention_days is None else rules.retention_days
    return TableState(present.name, present.group, columns, days)


def _needed(rows: ColumnarRows, present: TableState) -> Iterator[tuple[str, ColumnDefinition]]:
    for column, counter in rows.counters.items():
        found = present.columns.get(column)
        if found is None:
            declared, unit = rows.declared(column)
            kind = column_kind(rows.value_kind(column), declared)
            yield column, ColumnDefinition(kind, column_comment(column, counter, unit))
        elif found.kind != "number" or rows.numbers[column] is None:
            yield column, ColumnDefinition(widened(found.kind, rows.value_kind(column)), found.comment)
