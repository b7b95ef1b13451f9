"""The catalogue in the database: the tables of each group (pm_group) and the columns of each counter (pm_counter).

Names are allocated once and never change. All functions raise as `Connection` does.
"""

from collections.abc import Mapping, Sequence

from services.mysql_writer.connection import Execute
from services.mysql_writer.ddl import CounterColumn, kind_of_column, placeholders, quoted_identifier
from shared.sinks.names import LONGEST_IDENTIFIER, table_name, with_digest
from shared.sinks.values import ColumnKind

LONGEST_COUNTER = 255
"""Most characters of a measType that pm_counter accepts."""
FIRST_PART, VIEW_PART = 1, 0
"""Values of pm_group.part."""
GroupKey = tuple[str, str]
"""System, measInfoId."""


def allocated_table(group: GroupKey, part: int, execute: Execute) -> str:
    """Returns the name of one of the group's tables or of its view, allocating it at the first call."""
    suffix = {FIRST_PART: "", VIEW_PART: "_all"}.get(part, f"_{part}")
    plain = table_name(*group).lower()[: LONGEST_IDENTIFIER - len(suffix)] + suffix
    # The second name is for a group that differs from another one only in case.
    for name in (plain, with_digest(plain, group[1] + suffix)):
        execute(
            "INSERT INTO pm_group VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE measinfo = measinfo",
            (*group, part, name),
        )
        found = execute(
            "SELECT `table_name` FROM pm_group WHERE `system` = %s AND measinfo = %s AND part = %s", (*group, part)
        )
        if found:
            break
    return str(found[0][0])


def tables_of_group(group: GroupKey, execute: Execute) -> list[str]:
    """Returns the group's tables in the order of their parts, without its view."""
    found = execute(
        "SELECT `table_name` FROM pm_group WHERE `system` = %s AND measinfo = %s AND part >= %s ORDER BY part",
        (*group, FIRST_PART),
    )
    return [name for (name,) in found]


def columns_of_group(group: GroupKey, execute: Execute) -> dict[str, CounterColumn]:
    """Returns the group's columns by counter; only those that exist in their table."""
    tables = tables_of_group(group, execute)
    present = present_columns(tables, execute)
    return {
        counter: CounterColumn(table, name, present[table, name.lower()])
        for table, counter, name in execute(
            "SELECT `table_name`, counter, `column_name` FROM pm_counter "
            f"WHERE `table_name` IN ({placeholders(tables)})",
            tables,
        )
        if (table, name.lower()) in present
    }


def present_columns(tables: Sequence[str], execute: Execute) -> dict[tuple[str, str], ColumnKind]:
    """Returns the columns that exist in these tables: (table, column in lower case) -> kind."""
    return {
        (table, name.lower()): kind_of_column(data_type, collation)
        for table, name, data_type, collation in execute(
            "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns "
            f"WHERE table_schema = DATABASE() AND table_name IN ({placeholders(tables)})",
            tables,
        )
    }


def add_columns(table: str, names: Mapping[str, str], definitions: Mapping[str, str], execute: Execute) -> None:
    """Adds columns to a table in one ALTER TABLE and records them in pm_counter.

    Args:
        table: the table.
        names: column name by counter, or by class of a relative distinguished name.
        definitions: the columns' definitions, by the same keys.
        execute: runs statements.
    """
    present = present_columns([table], execute)
    added = [
        f"ADD COLUMN {definitions[counter]}"
        for counter, column in names.items()
        if (table, column.lower()) not in present  # else a crash came between ALTER TABLE and the INSERT below
    ]
    if added:
        execute(f"ALTER TABLE {quoted_identifier(table)} {', '.join(added)}")
    for counter, column in names.items():
        execute(
            "INSERT INTO pm_counter VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE counter = counter",
            (table, counter, column),
        )
