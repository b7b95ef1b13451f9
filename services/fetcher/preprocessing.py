"""The steps of preprocessing: what a measInfo says, normalised as its system wants it. Pure: no files in here.

Names cost once a measInfo; values are looked at one by one only where a step has something to do with them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache

import orjson

from services.fetcher.dictionary import Dictionary, Promise
from services.fetcher.parse.cells import NULL, cell
from services.fetcher.parse.merge import CELL, LINE
from services.fetcher.parse.table import ROW_END, Rows

_NULL = NULL.encode()
_EXACT = Context(prec=2000, traps=[Inexact, InvalidOperation])
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE_DIGITS = 18
"""A product of so many digits is written as an integer when it is one."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Of a unit to another: value * factor."""

    unit: str
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a system wants done, and what is needed for it."""

    steps: tuple[str, ...] = ()
    """Names of STEPS, in their order."""
    missing: tuple[bytes, ...] = ()
    """Tokens that mean no value, in JSON, besides those the parser knows."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Counter in the file -> counter to be stored."""
    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    """By the unit in the dictionary."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Of the file's element: other name -> its name in the inventory."""
    dictionary: Dictionary | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """A value that cannot be brought to the unit it should have; object and value in JSON."""

    object: bytes
    counter: str
    value: bytes
    unit: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a measInfo says; each step makes another one of it."""

    element: str
    counters: tuple[str, ...]
    promises: tuple[Promise, ...]
    """One for each counter."""
    rows: list[Rows]
    nulled: int = 0
    """Values that turned out to be missing tokens."""
    aside: tuple[Aside, ...] = ()


def preprocessed(said: Said, wanted: Preprocessing) -> Said:
    """All steps, one after the other; no step loses a value: it is in the rows, nulled, or aside."""
    for step in wanted.steps:
        said = STEPS[step](said, wanted)
    return _texts(said)


def missing_tokens(said: Said, wanted: Preprocessing) -> Said:
    """Values that are one of the system's own tokens, exactly as written, are null; in vectors too."""
    tokens = frozenset(wanted.missing)
    nulled = 0

    def changed(_name: bytes, cells: list[bytes]) -> list[bytes]:
        nonlocal nulled
        found = [_unless_missing(value, tokens) for value in cells]
        nulled += found.count(_NULL) - cells.count(_NULL)
        return found

    rows: list[Rows] = []
    for some in said.rows:
        before = nulled
        text = _mapped(some.text, changed) if any(token in some.text for token in tokens) else some.text
        rows.append(replace(some, text=text, values=some.values - (nulled - before)))
    return replace(said, rows=rows, nulled=said.nulled + nulled)


def _unless_missing(value: bytes, tokens: frozenset[bytes]) -> bytes:
    if value in tokens:
        return _NULL
    if value[:1] != b"[":
        return value
    elements = [_NULL if element in tokens else element for element in CELL.findall(value[1:-1])]
    return b"[" + b",".join(elements) + b"]" if any(element != _NULL for element in elements) else _NULL


def element_alias(said: Said, wanted: Preprocessing) -> Said:
    """An element gets its name of the inventory when the file calls it, or its last component, by an alias."""
    if not wanted.aliases:
        return said
    last = said.element.rpartition(",")[2]
    known = (wanted.aliases.get(name.strip()) for name in (said.element, last, last.partition("=")[2]))
    return replace(said, element=next(filter(None, known), said.element))


def rename_counters(said: Said, wanted: Preprocessing) -> Said:
    """Counters get the names the system wants for them; two that become one are merged as any that come twice."""
    if not wanted.renames:
        return said
    return replace(said, counters=tuple(wanted.renames.get(name, name) for name in said.counters))


def units(said: Said, wanted: Preprocessing) -> Said:
    """Values are brought to the unit the system wants, exactly; one that cannot be is set aside."""
    convert = {at: c for at, p in enumerate(said.promises) if (c := wanted.conversions.get(p.unit)) is not None}
    if not convert:
        return said
    aside: list[Aside] = []

    def converted(name: bytes, cells: list[bytes]) -> list[bytes]:
        for at, conversion in convert.items():
            value = times(cells[at], conversion.factor)
            if value is None:
                counter, unit = said.counters[at], said.promises[at].unit
                aside.append(Aside(name, counter, cells[at], unit, conversion.unit))
            cells[at] = value or _NULL
        return cells

    rows: list[Rows] = []
    for some in said.rows:
        before = len(aside)
        text = _mapped(some.text, converted, max(convert))
        rows.append(replace(some, text=text, values=some.values - (len(aside) - before)))
    promises = [
        _converted(promise, convert[at]) if at in convert else promise for at, promise in enumerate(said.promises)
    ]
    return replace(said, rows=rows, promises=tuple(promises), aside=(*said.aside, *aside))


def _converted(promise: Promise, conversion: Conversion) -> Promise:
    stays = promise.type != "integer" or conversion.factor == conversion.factor.to_integral_value()
    return Promise(promise.type if stays else "number", conversion.unit)


@lru_cache(1 << 16)
def times(value: bytes, factor: Decimal) -> bytes | None:
    """A cell in JSON times a factor, no digit lost; None: neither a number nor an array of numbers.

    >>> times(b"[1.5,null]", Decimal(1000))
    b'[1500,null]'
    """
    if value == _NULL:
        return value
    if value[:1] == b"[":
        elements = [times(element, factor) for element in CELL.findall(value[1:-1])]
        return None if None in elements else b"[" + b",".join(filter(None, elements)) + b"]"
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


def _texts(said: Said) -> Said:
    """Values that are promised to be texts stay texts, also when they look like numbers: version 1.10 is not 1.1."""
    columns = [at for at, promise in enumerate(said.promises) if promise.type == "text"]
    if not columns:
        return said

    def changed(_name: bytes, cells: list[bytes]) -> list[bytes]:
        for at in columns:
            cells[at] = _text(cells[at])
        return cells

    rows = [replace(some, text=_mapped(some.text, changed, max(columns))) for some in said.rows]
    return replace(said, rows=rows)


def _text(value: bytes) -> bytes:
    if value == _NULL or value[:1] == b'"':
        return value
    if value[:1] == b"[":
        elements = [_text(element) for element in CELL.findall(value[1:-1])]
        return b'"' + b",".join(b"" if element == _NULL else element[1:-1] for element in elements) + b'"'
    return b'"' + value + b'"'


def _mapped(text: bytes, change: Callable[[bytes, list[bytes]], list[bytes]], last: int = -1) -> bytes:
    """Rows with their cells changed, all of it JSON; what stands behind the last that matters may come as one cell."""
    lines: list[bytes] = []
    for line in text.split(ROW_END):
        found = LINE.fullmatch(line)
        assert found, line  # our own text
        name, suspect, cells = found.groups()
        is_plain = b'"' not in cells and b"[" not in cells
        split = cells.split(b",", last + 1 or -1) if is_plain else CELL.findall(cells)
        lines.append(b"[" + b",".join((name, suspect, *change(name, split))) + b"]")
    return ROW_END.join(lines)


STEPS: Mapping[str, Callable[[Said, Preprocessing], Said]] = {
    "missing-tokens": missing_tokens,
    "element-alias": element_alias,
    "rename-counters": rename_counters,
    "units": units,
}
"""Those of shared.settings.STEPS but split-dn: a function of measObjLdn, which the sinks ask once for each object."""
