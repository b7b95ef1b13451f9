"""The views of a group, which readers query: all its tables side by side, with element, object and parts of its name.

A group has one view, or several if it has more counters than a view may have columns. A view shows those components of
the objects' names that its objects have.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from services.mysql_writer.catalog import (
    FIRST_PART,
    FIRST_VIEW,
    allocated_table,
    columns_of_group,
    present_columns,
    recorded_columns,
)
from services.mysql_writer.connection import Connection, Execute
from services.mysql_writer.ddl import CounterColumn, quoted_identifier
from shared.errors import Hopeless, Unreachable
from shared.sinks.names import OBJECT_TABLE, GroupKey, name_digest

log = logging.getLogger(__name__)
TRY_AGAIN_S = 60.0
"""Time until a change of a view is tried again."""
MOST_VIEW_COUNTERS = 3900
"""Most counters in a view: MySQL allows 4,096 columns, and the object's name has up to 100."""
_NOT_A_COUNTER = "_"
"""Begins no counter's column (`shared.sinks.names.column_names`), so it tells a component's column from one."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """The columns that a group's views show."""

    counters: frozenset[str]
    components: frozenset[str]


class GroupViews:
    """Remembers the columns of the views, and adds more. It belongs to one thread.

    A view that cannot be changed now holds up no row: it is tried again later, with other rows of its group. Therefore
    the connection is one of its own, which is open only while a view is changed.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.shown: dict[GroupKey, _Shown] = {}
        self.next_try_s: dict[GroupKey, float] = {}
        """Groups whose views could not be changed, by the monotonic clock."""

    def forget(self) -> None:
        """Forgets everything, as another process changed the views."""
        self.shown.clear()

    def show(self, group: GroupKey, counters: Collection[CounterColumn], components: Collection[str]) -> None:
        """Makes the group's views show all these columns.

        Args:
            group: the group.
            counters: the columns of its counters.
            components: the columns of the object dictionary that its objects have.
        """
        shown = self.shown.get(group)
        if shown and len(shown.counters) >= len(counters) and shown.components.issuperset(components):
            return
        if monotonic() < self.next_try_s.get(group, 0.0):
            return
        try:
            with self.connection.ddl(f"views of {name_digest(*group).hex()}") as execute:
                self.shown[group] = _change_views(group, components, execute)
        except (Unreachable, Hopeless) as error:
            log.warning("view not changed", extra={"system": group[0], "group": group[1], "reason": str(error)})
            self.next_try_s[group] = monotonic() + TRY_AGAIN_S
        finally:
            self.connection.close()


def _change_views(group: GroupKey, components: Collection[str], execute: Execute) -> _Shown:
    """Creates the views of a group, or replaces those that lack columns; components that they show already stay."""
    columns = list(columns_of_group(group, execute).values())
    dictionary = {name.lower(): name for name in recorded_columns([OBJECT_TABLE], execute)[OBJECT_TABLE].values()}
    first, every = allocated_table(group, FIRST_PART, execute), set(components)
    for number, at in enumerate(range(0, len(columns), MOST_VIEW_COUNTERS)):
        view, part = allocated_table(group, FIRST_VIEW - number, execute), columns[at : at + MOST_VIEW_COUNTERS]
        present = {column for _, column in present_columns([view], execute)}
        counters = {column.name.lower() for column in part}
        others = (column.removeprefix(_NOT_A_COUNTER) for column in present - counters)
        every |= {dictionary[column] for column in others if column in dictionary}
        if not present >= counters | {_shown_as(name, counters).lower() for name in every}:
            execute(create_view(view, first, part, sorted(every)))
    return _Shown(frozenset(column.name for column in columns), frozenset(every))


def create_view(view: str, first: str, columns: Sequence[CounterColumn], components: Sequence[str]) -> str:
    """Returns the statement that creates a view of a group.

    Args:
        view: its name.
        first: the group's first table, which has every row.
        columns: the counters to show, in any of the group's tables.
        components: the columns of the object dictionary to show.
    """
    others = sorted({column.table for column in columns} - {first})
    joins = "".join(f" LEFT JOIN {quoted_identifier(table)} USING (ts, obj, gp_s)" for table in others)
    shown = ", ".join(_view_columns(first, columns, components))
    source = f"{quoted_identifier(first)}{joins}"
    by_number = f"{OBJECT_TABLE}.id = {quoted_identifier(first)}.obj"
    return (
        f"CREATE OR REPLACE VIEW {quoted_identifier(view)} AS SELECT {shown} "
        f"FROM {source} JOIN {OBJECT_TABLE} ON {by_number}"
    )


def _view_columns(first: str, columns: Sequence[CounterColumn], components: Sequence[str]) -> Iterator[str]:
    """Yields the columns of a view, in its order."""
    table, counters = quoted_identifier(first), {column.name.lower() for column in columns}
    yield from (f"{table}.ts AS ts", f"{OBJECT_TABLE}.element AS element", f"{OBJECT_TABLE}.ldn AS object")
    for name in components:
        yield f"{OBJECT_TABLE}.{quoted_identifier(name)} AS {quoted_identifier(_shown_as(name, counters))}"
    yield from (f"{table}.{name} AS {name}" for name in ("gp_s", "suspect", "ver", "obj"))
    for column in columns:
        name = quoted_identifier(column.name)
        yield f"{quoted_identifier(column.table)}.{name} AS {name}"


def _shown_as(component: str, counters: Collection[str]) -> str:
    """Returns the name of a component's column in a view; one that is called like a counter gets a mark."""
    return _NOT_A_COUNTER + component if component.lower() in counters else component
