"""What a column must be to hold counters unchanged: alike in both databases."""

from collections.abc import Sequence
from typing import Any, Literal

import orjson

Kind = Literal["number", "text"]
"""A floating-point column, or text: for words, vectors (as JSON) and integers that floating point would round."""
EXACT_INTEGER = 1 << 53
_NUMBERS = frozenset({int, float, type(None)})


def kind_of(column: Sequence[Any]) -> Kind:
    """The narrowest column that holds these values exactly."""
    types = set(map(type, column))
    if not types <= _NUMBERS:
        return "text"
    if int not in types:
        return "number"
    numbers = [v for v in column if v is not None] if type(None) in types else column
    if min(numbers) >= -EXACT_INTEGER and max(numbers) <= EXACT_INTEGER:  # nearly always, and cheaper than one by one
        return "number"
    exact = all(-EXACT_INTEGER <= v <= EXACT_INTEGER for v in numbers if type(v) is int)
    return "number" if exact else "text"


def as_text(value: Any) -> str | None:
    """A cell of a text column: a word as it is, a vector as JSON, a number as its digits."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
