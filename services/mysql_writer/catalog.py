"""The catalogue in the database: the tables of each group (pm_group) and the columns of each counter (pm_counter).

Names are allocated once and never change: the tables' unique keys let no two groups share a table and no two counters
share a column, and no name is allocated that anything in the database has already. The keys contain digests, because
a VARCHAR is too long for a key and ignores spaces at its end. All functions raise as `Connection` does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from services.mysql_writer.connection import Execute
from services.mysql_writer.ddl import CounterColumn, kind_of_column, placeholders, quoted_identifier
from shared.errors import Unreachable
from shared.sinks.names import GroupKey, allocated, column_names, helper_names, name_digest, table_names
from shared.sinks.values import ColumnKind

FIRST_PART, FIRST_VIEW = 1, 0
"""Values of pm_group.part; further tables have larger numbers, further views smaller ones."""
MOST_ALLOCATIONS = 10
"""Most names that other writers may take while one is allocated."""


def allocated_table(group: GroupKey, part: int, execute: Execute) -> str:
    """Returns the name of one of the group's tables or views, allocating it at the first call."""
    digest = name_digest(*group)
    for _ in range(MOST_ALLOCATIONS):
        found = execute("SELECT `table_name` FROM pm_group WHERE digest = %s AND part = %s", (digest, part))
        if found:
            return str(found[0][0])
        name = allocated(_names(group, part, execute), _taken_tables(execute))
        execute(
            "INSERT INTO pm_group (digest, part, `system`, measinfo, `table_name`) VALUES (%s, %s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE part = part",
            (digest, part, *group, name),
        )
        execute("COMMIT")  # the next SELECT must see what other writers allocated
    raise Unreachable(f"no table allocated for {group} after {MOST_ALLOCATIONS} attempts")


def _names(group: GroupKey, part: int, execute: Execute) -> Iterator[str]:
    """Yields candidates in lower case, because some servers ignore the case of tables and others do not."""
    if part == FIRST_PART:
        return (name.lower() for name in table_names(*group))
    view = "_all" if part == FIRST_VIEW else f"_all{1 - part}"
    return helper_names(allocated_table(group, FIRST_PART, execute), f"_part{part}" if part > FIRST_PART else view)


def _taken_tables(execute: Execute) -> set[str]:
    present = execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
    return {name.lower() for (name,) in [*present, *execute("SELECT `table_name` FROM pm_group")]}


def tables_of_group(group: GroupKey, execute: Execute) -> list[str]:
    """Returns the group's tables in the order of their parts, without its views."""
    found = execute(
        "SELECT `table_name` FROM pm_group WHERE digest = %s AND part >= %s ORDER BY part",
        (name_digest(*group), FIRST_PART),
    )
    return [name for (name,) in found]


def columns_of_group(group: GroupKey, execute: Execute) -> dict[str, CounterColumn]:
    """Returns the group's columns by counter, in the order of its tables; only those that exist."""
    tables = tables_of_group(group, execute)
    present = present_columns(tables, execute)
    return {
        counter: CounterColumn(table, name, present[table, name.lower()])
        for table, columns in recorded_columns(tables, execute).items()
        for counter, name in columns.items()
        if (table, name.lower()) in present
    }


def recorded_columns(tables: Sequence[str], execute: Execute) -> dict[str, dict[str, str]]:
    """Returns the columns in pm_counter by table: counter -> column, whether the column exists or not."""
    found: dict[str, dict[str, str]] = {table: {} for table in tables}
    for table, counter, name in execute(
        f"SELECT `table_name`, counter, `column_name` FROM pm_counter WHERE `table_name` IN ({placeholders(tables)}) "
        "ORDER BY `column_name`",
        tables,
    ):
        found[table][counter] = name
    return found


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


def new_column_names(counters: Iterable[str], present: Iterable[str]) -> dict[str, str]:
    """Returns a column name for each new counter; none equals a present one, ignoring case."""
    taken = {name.lower() for name in present}
    names = {}
    for counter in counters:
        names[counter] = allocated(column_names(counter), taken)
        taken.add(names[counter].lower())
    return names


def add_columns(table: str, names: Mapping[str, str], definitions: Mapping[str, str], execute: Execute) -> None:
    """Records columns in pm_counter and then adds those that do not exist, in one ALTER TABLE.

    A crash in between leaves a name without a column: it is the counter's name still when the column is added.

    Args:
        table: the table.
        names: column name by counter, or by class of a relative distinguished name.
        definitions: the columns' definitions, by the same keys.
        execute: runs statements.
    """
    for counter, column in names.items():
        execute(
            "INSERT INTO pm_counter (`table_name`, digest, counter, `column_name`) VALUES (%s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE counter = counter",
            (table, name_digest(counter), counter, column),
        )
    present = present_columns([table], execute)
    added = [
        f"ADD COLUMN {definitions[counter]}"
        for counter, column in names.items()
        if (table, column.lower()) not in present
    ]
    execute("COMMIT")
    if added:
        execute(f"ALTER TABLE {quoted_identifier(table)} {', '.join(added)}")
