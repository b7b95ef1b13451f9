"""Comments of tables and columns: JSON that names the group or counter that an object in the database belongs to.

They are the catalogue's truth in ClickHouse, which has no unique keys. The server creates an object and its comment in
one step and never a second object of the same name; so of several bridges that create one at once, the first one wins,
and all of them read in the comment whose it is. The views pm_group and pm_counter show the comments as tables.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from shared.sinks.names import GroupKey


@dataclass(frozen=True, slots=True)
class CounterComment:
    """The content of a column's comment."""

    counter: str
    unit: str


def table_comment(group: GroupKey, view: str) -> str:
    """Returns the comment of a group's table and of its view; a copy under another name is not the group's.

    >>> table_comment(("4ga", "EUtranCellFDD"), "4ga_EUtranCellFDD")
    '{"system":"4ga","measinfo":"EUtranCellFDD","table":"4ga_EUtranCellFDD"}'
    """
    system, measinfo = group
    return orjson.dumps({"system": system, "measinfo": measinfo, "table": view}).decode()


def column_comment(counter: str, unit: str) -> str:
    """Returns the comment of a counter's column.

    >>> column_comment("pmPrbUsed", "%")
    '{"counter":"pmPrbUsed","unit":"%"}'
    """
    return orjson.dumps({"counter": counter, "unit": unit}).decode()


def group_of_comment(comment: str, view: str) -> GroupKey | None:
    """Returns the group to which a view and the table behind it belong; None if pmflow did not create them."""
    found = _fields(comment)
    if found.get("table") != view or not isinstance(found.get("system"), str):
        return None
    return found["system"], str(found.get("measinfo"))


def counter_of_comment(comment: str) -> CounterComment | None:
    """Returns what a column's comment says; None if pmflow did not create the column."""
    found = _fields(comment)
    counter = found.get("counter")
    return CounterComment(counter, str(found.get("unit", ""))) if isinstance(counter, str) else None


def _fields(comment: str) -> dict[str, Any]:
    try:
        found = orjson.loads(comment)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
