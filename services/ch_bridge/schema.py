"""Creates and alters tables when the rows of an insert or the system's retention need it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from services.ch_bridge.catalog import new_column_name, present_state, taken_with
from services.ch_bridge.connection import LONGEST_USUAL, Connection
from services.ch_bridge.ddl import CounterColumn, TableState, definition_size, next_statements
from services.ch_bridge.render import ColumnarRows
from shared.errors import Hopeless, Unreachable
from shared.sinks import metrics
from shared.sinks.landing import NOT_ALLOWED, RefusedCounters
from shared.sinks.names import KEY_COLUMNS, GroupKey, unstorable
from shared.sinks.rules import StorageRules
from shared.sinks.values import column_kind, widened

log = logging.getLogger(__name__)

MOST_ROUNDS = 8
"""Most rounds of reading a table and altering it."""


class Schema:
    """The tables known so far, and the way to bring them to the state that rows need. It belongs to one thread."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tables: dict[GroupKey, TableState] = {}

    def forget(self) -> None:
        """Forgets everything, as another process may have changed the tables."""
        self.tables.clear()

    def table(self, rows: ColumnarRows, rules: StorageRules) -> TableState:
        """Returns the table of these rows once it has all they need.

        It is read, altered and read again until then, because other processes may alter it at the same time.

        Raises:
            RefusedCounters: some counters must not or cannot have a column.
            Hopeless: the group cannot have a table.
            Unreachable: the server does not answer, or the table still lacks something after several rounds.
        """
        deployment = self.connection.deployment
        group = rows.system, rows.group
        known = self.tables.get(group)
        if known and not next_statements(known, wanted_state(rows, known, rules), deployment):
            return known
        _refuse_long_names(rows)
        for _ in range(MOST_ROUNDS):
            present = present_state(group, self.connection)
            wanted = wanted_state(rows, present, rules)
            statements = next_statements(present, wanted, deployment)
            if not statements:
                self.tables[group] = present
                return present
            unknown = wanted.columns.keys() - present.columns.keys()
            if unknown and not rules.add_columns:
                raise RefusedCounters({(*group, counter): NOT_ALLOWED for counter in unknown})
            self._change(statements, present, wanted)
            if present.exists:
                report_changes(present.name, len(unknown), len(wanted.columns) - len(unknown))
        raise Unreachable(f"ClickHouse: table {present.name} still lacks columns after {MOST_ROUNDS} attempts")

    def _change(self, statements: Sequence[str], present: TableState, wanted: TableState) -> None:
        """Executes statements; if the server refuses one for good, only the counters that need it are refused."""
        wide = definition_size(present) + definition_size(wanted) > LONGEST_USUAL
        try:
            for statement in statements:
                self.connection.do(statement, wide=wide)
        except Hopeless as error:
            if not wanted.columns:
                raise
            raise RefusedCounters({(*wanted.group, counter): str(error) for counter in wanted.columns}) from error


def _refuse_long_names(rows: ColumnarRows) -> None:
    whole = unstorable(rows.system, rows.group, [""])
    if reasons := unstorable(rows.system, rows.group, rows.all_counters if whole else rows.counters):
        raise RefusedCounters(reasons)
    if whole:
        raise Hopeless(f"the name of system {rows.system[:20]}.. or group {rows.group[:20]}.. is too long")


def report_changes(table: str, added: int, widened: int) -> None:
    """Counts and logs columns that were added and widened."""
    metrics.SCHEMA_CHANGES.labels("clickhouse", "column added").inc(added)
    metrics.SCHEMA_CHANGES.labels("clickhouse", "column widened").inc(widened)
    if added or widened:
        log.info("columns changed", extra={"table": table, "added": added, "widened": widened})


def wanted_state(rows: ColumnarRows, present: TableState, rules: StorageRules) -> TableState:
    """Returns what these rows need of the table: columns that are missing or do not hold their values, and the TTL."""
    new = sorted(counter for counter in rows.counters if counter not in present.columns)
    needed = dict(chain(_new_columns(rows, new, present), _widened_columns(rows, present)))
    days = present.retention_days if rules.retention_days is None else rules.retention_days
    return TableState(present.name, present.group, needed, days)


def _new_columns(rows: ColumnarRows, new: Sequence[str], present: TableState) -> Iterator[tuple[str, CounterColumn]]:
    if not new:
        return
    names = [*KEY_COLUMNS, *present.others, *(column.name for column in present.columns.values())]
    taken = set(chain.from_iterable(map(taken_with, names)))
    for counter in new:
        declared, unit = rows.declared(counter)
        kind = column_kind(rows.value_kind(counter), declared)
        yield counter, CounterColumn(new_column_name(counter, taken), kind, unit)


def _widened_columns(rows: ColumnarRows, present: TableState) -> Iterator[tuple[str, CounterColumn]]:
    for counter, numbers in rows.numbers.items():
        column = present.columns.get(counter)
        if column and (column.kind != "number" or numbers is None):
            kind = widened(column.kind, rows.value_kind(counter))
            if kind != column.kind:
                yield counter, replace(column, kind=kind)
