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
    if not set(map(type, column)) <= _NUMBERS:
        return "text"
    exact = all(-EXACT_INTEGER <= v <= EXACT_INTEGER for v in column if type(v) is int)
    return "number" if exact else "text"


def as_text(value: Any) -> str | None:
    """A cell of a text column: a word as it is, a vector as JSON, a number as its digits."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
