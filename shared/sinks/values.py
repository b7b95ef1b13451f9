"""What a column must be to hold counters unchanged: alike in both databases (docs/decisions/0018-types.md)."""

from collections.abc import Sequence
from math import hypot
from typing import Any, Literal

import orjson

Kind = Literal["number", "integer", "vector", "text"]
"""Of a column.

number   floating point: all fractions, and the integers it holds exactly
integer  of 64 bits
vector   an array, as JSON
text     anything, as it was written: words as they are, vectors as JSON, numbers as their digits
"""
Content = Literal["count", "fraction", "large", "vector", "mixed"]
"""What values are: count is of integers that floating point holds, large of integers that it would round."""
HELD_BY: dict[Content, tuple[Kind, ...]] = {
    "count": ("number", "integer", "text"),
    "fraction": ("number", "text"),
    "large": ("integer", "text"),
    "vector": ("vector", "text"),
    "mixed": ("text",),
}
"""The columns that hold them exactly; a counter nobody declared gets the first."""
EXACT_INTEGER = 1 << 53
LARGEST_INTEGER = (1 << 63) - 1
_NUMBERS = frozenset({int, float, type(None)})


def content_of(column: Sequence[Any]) -> Content:
    """What these values are; without any, nothing that asks for more than a count does."""
    types = set(map(type, column))
    if not types <= _NUMBERS:
        return "vector" if types <= {list, type(None)} else "mixed"
    if int not in types:
        return "fraction" if float in types else "count"
    numbers = [v for v in column if v is not None] if type(None) in types else column
    least, most = min(numbers), max(numbers)
    if least >= -EXACT_INTEGER and most <= EXACT_INTEGER:  # nearly always, and cheaper than one by one
        return "fraction" if float in types else "count"
    if float not in types:
        return "large" if least >= -LARGEST_INTEGER and most <= LARGEST_INTEGER else "mixed"
    exact = all(-EXACT_INTEGER <= v <= EXACT_INTEGER for v in numbers if type(v) is int)
    return "fraction" if exact else "mixed"


def are_exact(column: Sequence[Any]) -> bool:
    """Whether they are numbers that floating point holds: nearly always, and found in a sixth of `content_of`'s time.

    No number is larger than the hypotenuse of all. False tells nothing.
    """
    try:
        return hypot(*column) < EXACT_INTEGER
    except TypeError:
        return None in column and are_exact([v for v in column if v is not None])
    except OverflowError:
        return False


def kind_of(content: Content, declared: str | None = None) -> Kind:
    """A new column for these values: as the counter dictionary says, if they keep their value there."""
    return next((kind for kind in HELD_BY[content] if kind == declared), HELD_BY[content][0])


def widened(kind: Kind, content: Content) -> Kind:
    """What a column must become for these values; one that holds them stays as it is.

    Text alone holds all that any column may hold already. So a widening never looks at what is stored, and a writer
    that does not know of it yet spoils nothing.
    """
    return kind if kind in HELD_BY[content] else "text"


def as_text(value: Any) -> str | None:
    """A cell of a column of text or vectors: a word as it is, a vector as JSON, a number as its digits."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
