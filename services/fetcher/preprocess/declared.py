"""Compares values with the types that the dictionary declares, at almost no cost where they agree."""

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
    """The declaration of a counter in the dictionary; an empty field is not declared."""

    type: str = ""
    """integer, number, text or vector."""
    unit: str = ""


UNDECLARED = DeclaredType()


@dataclass(frozen=True, slots=True)
class TypesAndUnits:
    """Declared types and units of some counters, as a CounterBatch has them."""

    types: dict[str, str]
    units: dict[str, str]


_TYPE_BY_MARK = {b'"': "text", b"[": "vector", b".": "number", b"e": "number", b"E": "number"}
"""A character that JSON rows contain only if some value is not an integer -> the type of that value."""
_CONTRADICTING = {
    "integer": frozenset({"number", "text", "vector"}),
    "number": frozenset({"text", "vector"}),
    "vector": frozenset({"text"}),
    "text": frozenset[str](),
}
"""Declared type -> the types that contradict it. A text may look like anything, a vector of one like a number."""
_DIGITS = re.compile(r"-?[0-9]+")


def types_found(objects: Sequence[str], rows: Rows) -> frozenset[str]:
    """Returns the types besides integer and null that the rows may contain, without examining single values."""
    names = "".join(objects).encode()
    brackets = {b"[": rows.height}
    return frozenset(
        kind
        for mark, kind in _TYPE_BY_MARK.items()
        if rows.text.count(mark) > names.count(mark) + brackets.get(mark, 0)
    )


def contradicted(declared: Iterable[DeclaredType], found: frozenset[str]) -> bool:
    """Returns True if one of the types found in some rows contradicts a declared type (see `types_found`)."""
    return any(_CONTRADICTING[kind] & found for kind in {declared_type.type for declared_type in declared} if kind)


def mistyped(declared: Iterable[DeclaredType], rows: Rows) -> Counter[int]:
    """Returns column -> number of values that contradict its declared type.

    One pattern proves most rows; only the others are decoded.
    """
    kinds = tuple(declared_type.type for declared_type in declared)
    is_as_declared = _row_of(kinds).fullmatch
    found: Counter[int] = Counter()
    for line in rows.text.split(ROW_END):
        if not is_as_declared(line):
            values = orjson.loads(line)[2:]
            found.update(
                at for at, (kind, value) in enumerate(zip(kinds, values, strict=True)) if _contradicts(value, kind)
            )
    return found


_ANYTHING = rb'(?:"(?:[^"\\]|\\.)*+"|\[(?:[^]"]++|"(?:[^"\\]|\\.)*+")*+\]|[^],"[]*+)'
_CELLS = {
    "integer": rb'[^],."[eE]*+',
    "number": rb'[^],"[]*+',
    "vector": rb'(?:\[[^]"]*+\]|[^],"[]*+)',
    "text": _ANYTHING,
    "": _ANYTHING,
}
"""Declared type -> the pattern of a cell. Relies on our own JSON: a cell is a number, null, a text or an array."""


@lru_cache(256)
def _row_of(kinds: tuple[str, ...]) -> re.Pattern[bytes]:
    """Returns the pattern of a row whose values have the given types.

    It does not match some correct rows: it takes an integer beyond 64 bits for a text.
    """
    cells = b"".join(b"," + _CELLS[kind] for kind in kinds)
    return re.compile(rb'\["(?:[^"\\]|\\.)*+",[01]' + cells + rb"\]", re.DOTALL)


_TYPES = {int: "integer", float: "number", str: "text", list: "vector", type(None): ""}


def _contradicts(value: Any, kind: str) -> bool:
    """Returns True if a value contradicts the type. An integer beyond 64 bits is written as text and is still one."""
    if not kind or (isinstance(value, str) and _DIGITS.fullmatch(value)):
        return False
    return _TYPES[type(value)] in _CONTRADICTING[kind]


class DeclaredTypes:
    """The declared types of a file's counters, and the values that contradict them."""

    def __init__(self) -> None:
        self.declared: dict[tuple[str, str], DeclaredType] = {}
        """Group and counter -> declared type."""
        self.mistyped: Counter[str] = Counter()
        """Counter -> number of values that contradict its declared type."""

    def add(self, group: str, counters: Sequence[str], declared: Sequence[DeclaredType], rows: Iterable[Rows]) -> None:
        """Adds the counters of a measInfo, and those of its rows that may contradict a declared type."""
        named = zip(counters, declared, strict=True)
        self.declared |= {
            (group, name): declared_type for name, declared_type in named if declared_type is not UNDECLARED
        }
        for part in rows:
            self.mistyped.update({counters[at]: values for at, values in mistyped(declared, part).items()})

    def types_and_units(self, group: str, counters: Iterable[str]) -> TypesAndUnits | None:
        """Returns the declarations of some counters; None if nothing in the file is declared."""
        if not self.declared:
            return None
        found = {name: self.declared.get((group, name), UNDECLARED) for name in counters}
        types = {name: declared_type.type for name, declared_type in found.items() if declared_type.type}
        units = {name: declared_type.unit for name, declared_type in found.items() if declared_type.unit}
        return TypesAndUnits(types, units)
