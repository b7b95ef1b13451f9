"""Creates tables and columns, and widens columns, when the rows of a write need it.

DDL never shares a transaction with data, because it commits implicitly.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from services.mysql_writer.catalog import (
    FIRST_PART,
    add_columns,
    allocated_table,
    columns_of_group,
    new_column_names,
    present_columns,
    recorded_columns,
    tables_of_group,
)
from services.mysql_writer.connection import Connection, Execute
from services.mysql_writer.ddl import (
    CounterColumn,
    column_definition,
    create_table,
    quoted_identifier,
)
from services.mysql_writer.partitions import DAYS_BEHIND, initial_days, partition_clause
from services.mysql_writer.render import Chunk
from services.mysql_writer.settings import MysqlRules
from shared.errors import Hopeless
from shared.sinks import metrics
from shared.sinks.failures import StaleSchema
from shared.sinks.landing import NOT_ALLOWED, RefusedCounters
from shared.sinks.names import GroupKey, unstorable
from shared.sinks.values import ColumnKind, ValueKind, are_exact, column_kind, value_kind, widened

log = logging.getLogger(__name__)

TABLE_CAPACITY = 900
"""Number columns that fit one table; InnoDB's row holds about 996 of them."""
COLUMN_COST: Mapping[ColumnKind, int] = {"number": 1, "integer": 1, "vector": 5, "text": 5}
"""Capacity that a column takes; up to 40 bytes of a text lie in the row."""


class Schema:
    """The tables known so far, and the way to bring them to the state that rows need. It belongs to one thread."""

    def __init__(self, connection: Connection, rules: Callable[[str], MysqlRules]) -> None:
        self.connection = connection
        self.rules = rules
        self.first_tables: dict[GroupKey, str] = {}
        self.columns: dict[GroupKey, dict[str, CounterColumn]] = {}

    def forget(self) -> None:
        """Forgets everything, as another process changed the tables."""
        self.first_tables.clear()
        self.columns.clear()

    def tables(self, chunk: Chunk) -> Mapping[str, Mapping[str, CounterColumn]]:
        """Returns the columns of the chunk's counters by table, after creating and widening those that are needed.

        The group's first table is always included: it has every row, whatever counters the row brings.

        Raises:
            RefusedCounters: some counters must not or cannot have a column.
            Hopeless: the group cannot have a table.
            StaleSchema: a column is missing that was just added.
        """
        group = chunk.system, chunk.group
        known = self.columns.get(group)
        if known is None or not all(
            counter in known and _holds(known[counter].kind, values) for counter, values in chunk.counters.items()
        ):
            self._change(chunk)
        found: dict[str, dict[str, CounterColumn]] = {self.first_tables[group]: {}}
        for counter in chunk.counters:
            column = self.columns[group].get(counter)
            if column is None:
                raise StaleSchema(f"{self.first_tables[group]} has no column for {counter!r} after it was added")
            found.setdefault(column.table, {})[counter] = column
        return found

    def _lacking(self, chunk: Chunk, wanted: Mapping[str, ValueKind]) -> dict[str, ColumnKind]:
        """Returns the needed kind of each counter that has no column or whose column does not hold these values."""
        known = self.columns.get((chunk.system, chunk.group), {})
        kinds = {
            counter: widened(known[counter].kind, kind)
            if counter in known
            else column_kind(kind, chunk.types.get(counter))
            for counter, kind in wanted.items()
        }
        return {c: kind for c, kind in kinds.items() if c not in known or known[c].kind != kind}

    def _change(self, chunk: Chunk) -> None:
        """Adds and widens columns, in one ALTER TABLE per table. Another writer may be doing the same."""
        _refuse_long_names(chunk)
        wanted = {counter: value_kind(values) for counter, values in chunk.counters.items()}
        group = chunk.system, chunk.group
        with self.connection.transaction() as execute:
            first = self.first_tables[group] = allocated_table(group, FIRST_PART, execute)
        lacking: dict[str, ColumnKind] = {}
        try:
            with self.connection.ddl(first) as execute:
                partitions = self._partitions(chunk.system)
                execute(create_table(first) + partitions)
                known = self.columns[group] = columns_of_group(group, execute)
                lacking = self._lacking(chunk, wanted)
                if lacking:
                    self._add_and_widen(chunk, lacking, partitions, execute)
        except RefusedCounters:
            raise
        except Hopeless as error:  # only the counters that need the change are refused
            if not lacking:
                raise
            raise RefusedCounters({(*group, counter): str(error) for counter in lacking}) from error
        if lacking:
            added = len(lacking.keys() - known.keys())
            report_changes(first, added, len(lacking) - added)

    def _add_and_widen(
        self, chunk: Chunk, lacking: Mapping[str, ColumnKind], partitions: str, execute: Execute
    ) -> None:
        group = chunk.system, chunk.group
        known = self.columns[group]
        unknown = {counter: kind for counter, kind in lacking.items() if counter not in known}
        self._check(group, unknown)
        _add(chunk, unknown, known, partitions, execute)
        _widen({known[counter]: kind for counter, kind in lacking.items() if counter in known}, execute)
        self.columns[group] = columns_of_group(group, execute)

    def _partitions(self, system: str) -> str:
        """Returns the partition clause of a new table; empty without a retention."""
        days = self.rules(system).retention_days
        return partition_clause(initial_days(datetime.now(UTC).date(), min(days, DAYS_BEHIND))) if days else ""

    def _check(self, group: GroupKey, unknown: Collection[str]) -> None:
        if unknown and not self.rules(group[0]).add_columns:
            raise RefusedCounters({(*group, counter): NOT_ALLOWED for counter in unknown})


def _refuse_long_names(chunk: Chunk) -> None:
    whole = unstorable(chunk.system, chunk.group, [""])
    if reasons := unstorable(chunk.system, chunk.group, chunk.all_counters if whole else chunk.counters):
        raise RefusedCounters(reasons)
    if whole:
        raise Hopeless(f"the name of system {chunk.system[:20]}.. or group {chunk.group[:20]}.. is too long")


def _holds(kind: ColumnKind, values: Sequence[Any]) -> bool:
    return (kind == "number" and are_exact(values)) or widened(kind, value_kind(values)) == kind


def report_changes(table: str, added: int, widened: int) -> None:
    """Counts and logs columns that were added and widened."""
    metrics.SCHEMA_CHANGES.labels("mysql", "column added").inc(added)
    metrics.SCHEMA_CHANGES.labels("mysql", "column widened").inc(widened)
    log.info("columns changed", extra={"table": table, "added": added, "widened": widened})


def table_parts(unknown: Mapping[str, ColumnKind], taken: Sequence[int]) -> dict[str, int]:
    """Returns for each new counter the part of the group's tables, counted from 1, that it is added to.

    Args:
        unknown: the new counters.
        taken: the capacity used in each present table; at least one.
    """
    part, left = len(taken), TABLE_CAPACITY - taken[-1]
    found = {}
    for counter, kind in unknown.items():
        if COLUMN_COST[kind] > left:
            part, left = part + 1, TABLE_CAPACITY
        left -= COLUMN_COST[kind]
        found[counter] = part
    return found


def _add(
    chunk: Chunk,
    unknown: Mapping[str, ColumnKind],
    known: Mapping[str, CounterColumn],
    partitions: str,
    execute: Execute,
) -> None:
    group = chunk.system, chunk.group
    tables = tables_of_group(group, execute)
    taken = [sum(COLUMN_COST[column.kind] for column in known.values() if column.table == table) for table in tables]
    by_part: dict[int, list[str]] = {}
    for counter, part in table_parts(unknown, taken).items():
        by_part.setdefault(part, []).append(counter)
    for part, counters in by_part.items():
        table = allocated_table(group, part, execute)
        execute(create_table(table) + partitions)
        names = _column_names(table, {*tables, table}, counters, execute)
        definitions = {c: column_definition(names[c], unknown[c], chunk.units.get(c, "")) for c in counters}
        add_columns(table, names, definitions, execute)
        tables.append(table)


def _column_names(table: str, tables: Collection[str], counters: Collection[str], execute: Execute) -> dict[str, str]:
    """Returns the column of each counter in a table; names are unique in all tables, because a view may show all."""
    recorded = recorded_columns(sorted(tables), execute)
    known = {counter: name for counter, name in recorded[table].items() if counter in counters}
    present = {name for _, name in present_columns(sorted(tables), execute)}
    taken = present.union(*(columns.values() for columns in recorded.values()))
    return known | new_column_names([counter for counter in counters if counter not in known], taken)


def _widen(columns: Mapping[CounterColumn, ColumnKind], execute: Execute) -> None:
    def table_of(column: CounterColumn) -> str:
        return column.table

    for table, some in groupby(sorted(columns, key=table_of), key=table_of):
        units = {
            name.lower(): unit
            for name, unit in execute(
                "SELECT column_name, column_comment FROM information_schema.columns "
                "WHERE table_schema = DATABASE() AND table_name = %s",
                (table,),
            )
        }
        changes = [f"MODIFY COLUMN {column_definition(c.name, columns[c], units[c.name.lower()])}" for c in some]
        execute(f"ALTER TABLE {quoted_identifier(table)} {', '.join(changes)}")
