"""What is promised of counters, and which values are something else: looked for at the cost of nearly nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from services.fetcher.rows.held import ROW_END, Rows


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """What the dictionary says of a counter; empty: nothing."""

    type: str = ""
    """integer, number, text or vector."""
    unit: str = ""


UNDECLARED = DeclaredType()

_MARKS = {b'"': "text", b"[": "vector", b".": "number", b"e": "number", b"E": "number"}
"""What there is in JSON when some value is more than an integer."""
_CONTRARY = {
    "integer": frozenset({"number", "text", "vector"}),
    "number": frozenset({"text", "vector"}),
    "vector": frozenset({"text"}),
    "text": frozenset[str](),
}
"""Declared type -> the types that contradict it; a text may look like anything, a vector of one like a number."""
_DIGITS = re.compile(r"-?[0-9]+")


def marks(objects: Sequence[str], rows: Rows) -> frozenset[str]:
    """What there may be in rows besides integers and null: text, vector, number. Looks at no single value."""
    names = "".join(objects).encode()
    brackets = {b"[": rows.height}
    return frozenset(
        kind for mark, kind in _MARKS.items() if rows.text.count(mark) > names.count(mark) + brackets.get(mark, 0)
    )


def contradicted(declared: Iterable[DeclaredType], found: frozenset[str]) -> bool:
    """Whether a declared_type may be contradicted by what was found in some rows, see `marks`."""
    return any(_CONTRARY[kind] & found for kind in {declared_type.type for declared_type in declared} if kind)


def mistyped(declared: Iterable[DeclaredType], rows: Rows) -> Counter[int]:
    """Column -> values that are not what was promised. Rows are proven by one pattern; only others are looked into."""
    kinds = tuple(declared_type.type for declared_type in declared)
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
    """A row that keeps all declared. It misses some that do: an integer beyond 64 bits is text to it."""
    cells = b"".join(b"," + _CELLS[kind] for kind in kinds)
    return re.compile(rb'\["(?:[^"\\]|\\.)*+",[01]' + cells + rb"\]", re.DOTALL)


_TYPES = {int: "integer", float: "number", str: "text", list: "vector", type(None): ""}


def _is_not(kind: str, value: Any) -> bool:
    """Not what was promised; an integer beyond 64 bits is written as text, and is none."""
    if not kind or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        return False
    return _TYPES[type(value)] in _CONTRARY[kind]


class DeclaredTypes:
    """Promises of a file's counters, and what became of them."""

    def __init__(self) -> None:
        self.declared: dict[tuple[str, str], DeclaredType] = {}
        """By group and counter."""
        self.mistyped: Counter[str] = Counter()
        """Counter -> values that are not what was promised."""

    def add(self, group: str, counters: Sequence[str], declared: Sequence[DeclaredType], rows: Iterable[Rows]) -> None:
        """Of a measInfo, with those of its rows that may contradict a declared_type."""
        named = zip(counters, declared, strict=True)
        self.declared |= {
            (group, name): declared_type for name, declared_type in named if declared_type is not UNDECLARED
        }
        for some in rows:
            self.mistyped.update({counters[at]: values for at, values in mistyped(declared, some).items()})

    def of(self, group: str, counters: Iterable[str]) -> dict[str, dict[str, str]]:
        """Types and units, as a CounterBatch has them; nothing when there are none in all of the file."""
        if not self.declared:
            return {}
        found = {name: self.declared.get((group, name), UNDECLARED) for name in counters}
        types = {name: declared_type.type for name, declared_type in found.items() if declared_type.type}
        units = {name: declared_type.unit for name, declared_type in found.items() if declared_type.unit}
        return {"types": types, "units": units}
