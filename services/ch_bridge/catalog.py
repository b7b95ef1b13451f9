"""The catalogue in the database: the table of each group. See comments.py for how several bridges agree on names.

All functions raise as `Connection` does.
"""

from services.ch_bridge.comments import group_of_comment
from services.ch_bridge.connection import Connection
from services.ch_bridge.ddl import ROWS_SUFFIX, TABLE_COLUMNS, TABLE_ENGINE, TableState, table_state
from shared.errors import Unreachable
from shared.sinks.names import GroupKey, allocated, column_names, table_names

ALL_TABLES = "SELECT name, comment FROM system.tables WHERE database = currentDatabase() ORDER BY name"


def table_of_group(group: GroupKey, connection: Connection) -> str:
    """Returns the name of the group's view; if the group has no table yet, the first name that is free.

    A name once taken stays taken. All bridges try a group's names in the same order, so they come to the same one.
    """
    taken: set[str] = set()
    for name, comment in connection.ask(ALL_TABLES):
        view = str(name).removesuffix(ROWS_SUFFIX)
        if view != name and group_of_comment(comment, view) == group:
            return view
        taken.add(view.lower())
    return allocated(table_names(*group), taken)


def present_state(group: GroupKey, connection: Connection) -> TableState:
    """Returns the present state of a group's table and view.

    Raises:
        Unreachable: something that pmflow did not create is in the place of the view.
    """
    name = table_of_group(group, connection)
    engine, view = (connection.ask(TABLE_ENGINE, name=table) for table in (name + ROWS_SUFFIX, name))
    if view and view[0][2] != "View":
        raise Unreachable(
            f"ClickHouse: {name} is a {view[0][2]}; rename it, so that the view of {group} can be created"
        )
    in_table, in_view = (connection.ask(TABLE_COLUMNS, name=table) for table in (name + ROWS_SUFFIX, name))
    return table_state(name, group, engine, in_table, in_view)


def new_column_name(counter: str, taken: set[str]) -> str:
    """Returns a column name for a new counter and adds it to those taken.

    `taken` has names in lower case, and all that a name with dots begins with: ClickHouse takes `X.sub` for a part of
    `X` and does not add `X` beside it.
    """
    name = allocated(column_names(counter), taken)
    taken.update(taken_with(name))
    return name


def taken_with(column: str) -> set[str]:
    """Returns the names that a column takes, in lower case.

    >>> sorted(taken_with("DRB.UEThpDl.QOS"))
    ['drb', 'drb.uethpdl', 'drb.uethpdl.qos']
    """
    parts = column.lower().split(".")
    return {".".join(parts[: count + 1]) for count in range(len(parts))}
