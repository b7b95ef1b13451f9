"""What is promised of counters, and which values are something else: looked for at the cost of nearly nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from services.fetcher.parse.table import ROW_END, Rows


@dataclass(frozen=True, slots=True)
class Promise:
    """What the dictionary says of a counter; empty: nothing."""

    type: str = ""
    """integer, number, text or vector."""
    unit: str = ""


NOTHING = Promise()

_MARKS = {b'"': "text", b"[": "vector", b".": "number", b"e": "number", b"E": "number"}
"""What there is in JSON when some value is more than an integer."""
_CONTRARY = {
    "integer": frozenset({"number", "text", "vector"}),
    "number": frozenset({"text", "vector"}),
    "vector": frozenset({"text"}),
    "text": frozenset[str](),
}
"""Promise -> what contradicts it. A text may look like anything; a vector of one number is written as that number."""
_DIGITS = re.compile(r"-?[0-9]+")


def marks(objects: Sequence[str], rows: Rows) -> frozenset[str]:
    """What there may be in rows besides integers and null: text, vector, number. Looks at no single value."""
    names = "".join(objects).encode()
    brackets = {b"[": rows.height}
    return frozenset(
        kind for mark, kind in _MARKS.items() if rows.text.count(mark) > names.count(mark) + brackets.get(mark, 0)
    )


def contradicted(promises: Iterable[Promise], found: frozenset[str]) -> bool:
    """Whether a promise may be contradicted by what was found in some rows, see `marks`."""
    return any(_CONTRARY[kind] & found for kind in {promise.type for promise in promises} if kind)


def mistyped(promises: Iterable[Promise], rows: Rows) -> Counter[int]:
    """Column -> values that are not what was promised. Rows are proven by one pattern; only others are looked into."""
    kinds = tuple(promise.type for promise in promises)
    is_kept = _row_of(kinds).fullmatch
    found: Counter[int] = Counter()
    for line in rows.text.split(ROW_END):
        if not is_kept(line):
            values = orjson.loads(line)[2:]
            found.update(at for at, (kind, value) in enumerate(zip(kinds, values, strict=True)) if _is_not(kind, value))
    return found


_ANYTHING = rb'(?:"(?:[^"\\]|\\.)*+"|\[(?:[^]"]++|"(?:[^"\\]|\\.)*+")*+\]|[^],"[]*+)'
_CELLS = {
    "integer": rb'[^],."[eE]*+',
    "number": rb'[^],"[]*+',
    "vector": rb'(?:\[[^]"]*+\]|[^],"[]*+)',
    "text": _ANYTHING,
    "": _ANYTHING,
}
"""Of our own JSON: what stands between two commas is a number, null, a text or an array."""


@lru_cache(256)
def _row_of(kinds: tuple[str, ...]) -> re.Pattern[bytes]:
    """A row that keeps all promises. It misses some that do: an integer beyond 64 bits is text to it."""
    cells = b"".join(b"," + _CELLS[kind] for kind in kinds)
    return re.compile(rb'\["(?:[^"\\]|\\.)*+",[01]' + cells + rb"\]", re.DOTALL)


_TYPES = {int: "integer", float: "number", str: "text", list: "vector", type(None): ""}


def _is_not(kind: str, value: Any) -> bool:
    """Not what was promised; an integer beyond 64 bits is written as text, and is none."""
    if not kind or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        return False
    return _TYPES[type(value)] in _CONTRARY[kind]


class Kept:
    """Promises of a file's counters, and what became of them."""

    def __init__(self) -> None:
        self.promises: dict[tuple[str, str], Promise] = {}
        """By group and counter."""
        self.mistyped: Counter[str] = Counter()
        """Counter -> values that are not what was promised."""

    def add(self, group: str, counters: Sequence[str], promises: Sequence[Promise], rows: Iterable[Rows]) -> None:
        """Of a measInfo, with those of its rows that may contradict a promise."""
        named = zip(counters, promises, strict=True)
        self.promises |= {(group, name): promise for name, promise in named if promise is not NOTHING}
        for some in rows:
            self.mistyped.update({counters[at]: values for at, values in mistyped(promises, some).items()})

    def of(self, group: str, counters: Iterable[str]) -> dict[str, dict[str, str]]:
        """Types and units, as a CounterBatch has them; nothing when there are none in all of the file."""
        if not self.promises:
            return {}
        found = {name: self.promises.get((group, name), NOTHING) for name in counters}
        types = {name: promise.type for name, promise in found.items() if promise.type}
        units = {name: promise.unit for name, promise in found.items() if promise.unit}
        return {"types": types, "units": units}
