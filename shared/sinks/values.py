"""Column kinds that hold a counter's values unchanged, the same in both databases (docs/decisions/0018-types.md)."""

from collections.abc import Sequence
from math import hypot
from typing import Any, Literal

import orjson

ColumnKind = Literal["number", "integer", "vector", "text"]
"""The kind of a column.

number   floating point: all fractions, and the integers that it holds exactly
integer  64 bits, signed
vector   an array, as JSON
text     anything, as it was written: words unchanged, vectors as JSON, numbers as their digits
"""
ValueKind = Literal["count", "fraction", "large", "vector", "mixed"]
"""The kind of several values together.

count     integers that floating point holds exactly
fraction  numbers that are not all integers
large     integers that floating point would round
vector    arrays
mixed     everything else
"""
HELD_BY: dict[ValueKind, tuple[ColumnKind, ...]] = {
    "count": ("number", "integer", "text"),
    "fraction": ("number", "text"),
    "large": ("integer", "text"),
    "vector": ("vector", "text"),
    "mixed": ("text",),
}
"""The kinds of columns that hold such values exactly; a counter without a declared type gets the first one."""
EXACT_INTEGER = 1 << 53
LARGEST_INTEGER = (1 << 63) - 1
_NUMBERS = frozenset({int, float, type(None)})


def value_kind(values: Sequence[Any]) -> ValueKind:
    """Returns the kind of these values together; without any value it is `count`, which every number column holds."""
    types = set(map(type, values))
    if not types <= _NUMBERS:
        return "vector" if types <= {list, type(None)} else "mixed"
    if int not in types:
        return "fraction" if float in types else "count"
    numbers = [v for v in values if v is not None] if type(None) in types else values
    least, most = min(numbers), max(numbers)
    if least >= -EXACT_INTEGER and most <= EXACT_INTEGER:  # nearly always, and cheaper than looking at each value
        return "fraction" if float in types else "count"
    if float not in types:
        return "large" if least >= -LARGEST_INTEGER and most <= LARGEST_INTEGER else "mixed"
    exact = all(-EXACT_INTEGER <= v <= EXACT_INTEGER for v in numbers if type(v) is int)
    return "fraction" if exact else "mixed"


def are_exact(values: Sequence[Any]) -> bool:
    """Returns True if these are numbers that floating point holds exactly; False means that `value_kind` must decide.

    It is nearly always True and takes a sixth of the time of `value_kind`: the hypotenuse of all is an upper bound.
    """
    try:
        return hypot(*values) < EXACT_INTEGER
    except TypeError:
        return None in values and are_exact([v for v in values if v is not None])
    except OverflowError:
        return False


def column_kind(kind: ValueKind, declared: str | None = None) -> ColumnKind:
    """Returns the kind of a new column: the type that the dictionary declares, if it holds the values exactly."""
    return next((column for column in HELD_BY[kind] if column == declared), HELD_BY[kind][0])


def widened(column: ColumnKind, kind: ValueKind) -> ColumnKind:
    """Returns the kind that a column needs to hold these values too; a column that holds them already does not change.

    Only text holds everything that any column may contain. Therefore widening never has to read the stored values, and
    a writer that does not know of it yet does no harm.
    """
    return column if column in HELD_BY[kind] else "text"


def as_text(value: Any) -> str | None:
    """Returns the cell for a text or vector column: a word unchanged, a vector as JSON, a number as its digits."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
