"""The steps of preprocessing normalise the rows of a measInfo as its system is configured. Pure: reads no files.

Names are processed once per measInfo; values are examined one by one only where a step may change them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache

import orjson

from services.fetcher.parse.values.cells import NULL, cell
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.dictionary import Dictionary
from services.fetcher.rows.held import ROW_END, Rows
from services.fetcher.rows.line import CELL, row_parts

_NULL = NULL.encode()
_EXACT = Context(prec=2000, traps=[Inexact, InvalidOperation])
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE_DIGITS = 18
"""A whole product with at most this many digits is written as an integer."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Converts values to another unit: value * factor."""

    unit: str
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The preprocessing that a system is configured with."""

    steps: tuple[str, ...] = ()
    """Keys of STEP_FUNCTIONS, in the order of execution."""
    missing: tuple[bytes, ...] = ()
    """Tokens for a missing value, as JSON, in addition to those the parser knows."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Counter in the file -> counter that is stored."""
    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    """Unit in the dictionary -> conversion to the stored unit."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Alias of the file's element -> its name in the inventory."""
    dictionary: Dictionary | None = None
    prefix_endpoint: bool = False
    """Put the endpoint's name before the element's, as elements behind different endpoints have the same names."""


@dataclass(frozen=True, slots=True)
class UnconvertedValue:
    """A value that cannot be converted to its target unit; object and value are JSON."""

    object: bytes
    counter: str
    value: bytes
    unit: str
    target_unit: str


@dataclass(frozen=True, slots=True)
class MeasInfoRows:
    """The rows of a measInfo with its element and counters; each step returns a new one."""

    element: str
    counters: tuple[str, ...]
    declared: tuple[DeclaredType, ...]
    """One type per counter."""
    rows: list[Rows]
    nulled: int = 0
    """Values that turned out to be missing tokens."""
    unconverted: tuple[UnconvertedValue, ...] = ()


def preprocessed(measinfo: MeasInfoRows, preprocessing: Preprocessing) -> MeasInfoRows:
    """Applies all configured steps. No step loses a value: each is in the rows, counted as nulled, or unconverted."""
    for step in preprocessing.steps:
        measinfo = STEP_FUNCTIONS[step](measinfo, preprocessing)
    return _with_texts_kept(measinfo) if preprocessing.dictionary else measinfo


def missing_tokens(measinfo: MeasInfoRows, preprocessing: Preprocessing) -> MeasInfoRows:
    """Replaces values, also within vectors, by null if they equal one of the system's own missing tokens exactly."""
    if not preprocessing.missing:
        return measinfo
    tokens = frozenset(preprocessing.missing)

    def nulled(_name: bytes, cells: list[bytes]) -> int:
        before = cells.count(_NULL)
        cells[:] = [_unless_missing(value, tokens) for value in cells]
        return cells.count(_NULL) - before

    rows = [_mapped(part, nulled) if any(token in part.text for token in tokens) else part for part in measinfo.rows]
    taken = sum(before.values - after.values for before, after in zip(measinfo.rows, rows, strict=True))
    return replace(measinfo, rows=rows, nulled=measinfo.nulled + taken)


def _unless_missing(value: bytes, tokens: frozenset[bytes]) -> bytes:
    if value in tokens:
        return _NULL
    if value[:1] != b"[":
        return value
    elements = [_NULL if element in tokens else element for element in CELL.findall(value[1:-1])]
    return b"[" + b",".join(elements) + b"]" if any(element != _NULL for element in elements) else _NULL


def element_alias(measinfo: MeasInfoRows, preprocessing: Preprocessing) -> MeasInfoRows:
    """Replaces the element's name by the one in the inventory if the name, or its last component, is an alias."""
    if not preprocessing.aliases:
        return measinfo
    last = measinfo.element.rpartition(",")[2]
    known = (preprocessing.aliases.get(name.strip()) for name in (measinfo.element, last, last.partition("=")[2]))
    return replace(measinfo, element=next(filter(None, known), measinfo.element))


def rename_counters(measinfo: MeasInfoRows, preprocessing: Preprocessing) -> MeasInfoRows:
    """Renames counters; two counters that get the same name are merged like any counter that comes twice."""
    if not preprocessing.renames:
        return measinfo
    return replace(measinfo, counters=tuple(preprocessing.renames.get(name, name) for name in measinfo.counters))


def units(measinfo: MeasInfoRows, preprocessing: Preprocessing) -> MeasInfoRows:
    """Converts values exactly to the unit that the system stores; values that cannot be converted are quarantined."""
    conversions = {
        at: conversion
        for at, declared_type in enumerate(measinfo.declared)
        if (conversion := preprocessing.conversions.get(declared_type.unit)) is not None
    }
    if not conversions:
        return measinfo
    unconverted: list[UnconvertedValue] = []

    def converted(name: bytes, cells: list[bytes]) -> int:
        before = len(unconverted)
        for at, conversion in conversions.items():
            value = times(cells[at], conversion.factor)
            if value is None:
                counter, unit = measinfo.counters[at], measinfo.declared[at].unit
                unconverted.append(UnconvertedValue(name, counter, cells[at], unit, conversion.unit))
            cells[at] = value or _NULL
        return len(unconverted) - before

    rows = [_mapped(part, converted, max(conversions)) for part in measinfo.rows]
    after = [
        _converted_type(declared_type, conversions[at]) if at in conversions else declared_type
        for at, declared_type in enumerate(measinfo.declared)
    ]
    return replace(measinfo, rows=rows, declared=tuple(after), unconverted=(*measinfo.unconverted, *unconverted))


def _converted_type(declared_type: DeclaredType, conversion: Conversion) -> DeclaredType:
    is_kept = declared_type.type != "integer" or conversion.factor == conversion.factor.to_integral_value()
    return DeclaredType(declared_type.type if is_kept else "number", conversion.unit)


def times(value: bytes, factor: Decimal) -> bytes | None:
    """Multiplies a JSON cell by a factor without losing a digit; None if it is not a number or an array of numbers.

    >>> times(b"[1.5,null]", Decimal(1000))
    b'[1500,null]'
    """
    if value[:1] != b"[":
        return _product(value, factor)
    elements = [_product(element, factor) for element in CELL.findall(value[1:-1])]
    return None if None in elements else b"[" + b",".join(filter(None, elements)) + b"]"


@lru_cache(1 << 14)
def _product(value: bytes, factor: Decimal) -> bytes | None:
    if value == _NULL:
        return value
    text = orjson.loads(value) if value[:1] == b'"' else value.decode()  # digits beyond 64 bits are text
    if not _NUMBER.fullmatch(text):
        return None
    try:
        product = _EXACT.multiply(_EXACT.create_decimal(text), factor)
    except (Inexact, InvalidOperation):
        return None
    if not product.is_finite():
        return None
    is_whole = product.adjusted() < _WHOLE_DIGITS and product == product.to_integral_value()
    return cell(f"{product.to_integral_value():f}" if is_whole else str(product)).encode()


def _with_texts_kept(measinfo: MeasInfoRows) -> MeasInfoRows:
    """Writes values of counters declared as text as texts, also if they look like numbers: version 1.10 is not 1.1."""
    columns = [at for at, declared_type in enumerate(measinfo.declared) if declared_type.type == "text"]
    if not columns:
        return measinfo

    def texted(_name: bytes, cells: list[bytes]) -> int:
        for at in columns:
            cells[at] = _text(cells[at])
        return 0

    return replace(measinfo, rows=[_mapped(part, texted, max(columns)) for part in measinfo.rows])


def _text(value: bytes) -> bytes:
    if value == _NULL or value[:1] == b'"':
        return value
    if value[:1] == b"[":
        elements = [_text(element) for element in CELL.findall(value[1:-1])]
        return b'"' + b",".join(b"" if element == _NULL else element[1:-1] for element in elements) + b'"'
    return b'"' + value + b'"'


def _mapped(rows: Rows, change: Callable[[bytes, list[bytes]], int], last: int = -1) -> Rows:
    """Returns rows with changed cells.

    Args:
        rows: the rows to change.
        change: gets the object and the cells of a row as JSON, changes the cells in place, and returns how many
            values it removed.
        last: index of the last cell that `change` reads; the cells behind it may be passed as one. Negative: all cells.

    Raises:
        BrokenRow: a row does not have the parser's syntax.
    """
    lines: list[bytes] = []
    removed = 0
    for line in rows.text.split(ROW_END):
        name, suspect, text = row_parts(line)
        is_plain = b'"' not in text and b"[" not in text
        cells = text.split(b",", last + 1 or -1) if is_plain else CELL.findall(text)
        removed += change(name, cells)
        lines.append(b"[" + b",".join((name, suspect, *cells)) + b"]")
    return Rows(ROW_END.join(lines), rows.height, rows.values - removed, rows.objects)


STEP_FUNCTIONS: Mapping[str, Callable[[MeasInfoRows, Preprocessing], MeasInfoRows]] = {
    "missing-tokens": missing_tokens,
    "element-alias": element_alias,
    "rename-counters": rename_counters,
    "units": units,
}
"""The function of each step in shared.settings.STEPS, except split-dn: the sinks apply that once for each object."""
