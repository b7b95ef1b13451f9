"""The steps of preprocessing: what a measInfo says, normalised as its system wants it. Pure: no files in here.

Names cost once a measInfo; values are looked at one by one only where a step has something to do with them.
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
from services.fetcher.rows.line import CELL, LINE

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
class MeasInfoRows:
    """What a measInfo says; each step makes another one of it."""

    element: str
    counters: tuple[str, ...]
    declared: tuple[DeclaredType, ...]
    """One for each counter."""
    rows: list[Rows]
    nulled: int = 0
    """Values that turned out to be missing tokens."""
    aside: tuple[Aside, ...] = ()


def preprocessed(said: MeasInfoRows, wanted: Preprocessing) -> MeasInfoRows:
    """All steps, one after the other; no step loses a value: it is in the rows, nulled, or aside."""
    for step in wanted.steps:
        said = STEPS[step](said, wanted)
    return _texts(said) if wanted.dictionary else said


def missing_tokens(said: MeasInfoRows, wanted: Preprocessing) -> MeasInfoRows:
    """Values that are one of the system's own tokens, exactly as written, are null; in vectors too."""
    if not wanted.missing:
        return said
    tokens = frozenset(wanted.missing)

    def nulled(_name: bytes, cells: list[bytes]) -> int:
        before = cells.count(_NULL)
        cells[:] = [_unless_missing(value, tokens) for value in cells]
        return cells.count(_NULL) - before

    rows = [_mapped(some, nulled) if any(token in some.text for token in tokens) else some for some in said.rows]
    taken = sum(before.values - after.values for before, after in zip(said.rows, rows, strict=True))
    return replace(said, rows=rows, nulled=said.nulled + taken)


def _unless_missing(value: bytes, tokens: frozenset[bytes]) -> bytes:
    if value in tokens:
        return _NULL
    if value[:1] != b"[":
        return value
    elements = [_NULL if element in tokens else element for element in CELL.findall(value[1:-1])]
    return b"[" + b",".join(elements) + b"]" if any(element != _NULL for element in elements) else _NULL


def element_alias(said: MeasInfoRows, wanted: Preprocessing) -> MeasInfoRows:
    """An element gets its name of the inventory when the file calls it, or its last component, by an alias."""
    if not wanted.aliases:
        return said
    last = said.element.rpartition(",")[2]
    known = (wanted.aliases.get(name.strip()) for name in (said.element, last, last.partition("=")[2]))
    return replace(said, element=next(filter(None, known), said.element))


def rename_counters(said: MeasInfoRows, wanted: Preprocessing) -> MeasInfoRows:
    """Counters get the names the system wants for them; two that become one are merged as any that come twice."""
    if not wanted.renames:
        return said
    return replace(said, counters=tuple(wanted.renames.get(name, name) for name in said.counters))


def units(said: MeasInfoRows, wanted: Preprocessing) -> MeasInfoRows:
    """Values are brought to the unit the system wants, exactly; one that cannot be is set aside."""
    convert = {at: c for at, p in enumerate(said.declared) if (c := wanted.conversions.get(p.unit)) is not None}
    if not convert:
        return said
    aside: list[Aside] = []

    def converted(name: bytes, cells: list[bytes]) -> int:
        before = len(aside)
        for at, conversion in convert.items():
            value = times(cells[at], conversion.factor)
            if value is None:
                counter, unit = said.counters[at], said.declared[at].unit
                aside.append(Aside(name, counter, cells[at], unit, conversion.unit))
            cells[at] = value or _NULL
        return len(aside) - before

    rows = [_mapped(some, converted, max(convert)) for some in said.rows]
    after = [
        _converted(declared_type, convert[at]) if at in convert else declared_type
        for at, declared_type in enumerate(said.declared)
    ]
    return replace(said, rows=rows, declared=tuple(after), aside=(*said.aside, *aside))


def _converted(declared_type: DeclaredType, conversion: Conversion) -> DeclaredType:
    stays = declared_type.type != "integer" or conversion.factor == conversion.factor.to_integral_value()
    return DeclaredType(declared_type.type if stays else "number", conversion.unit)


def times(value: bytes, factor: Decimal) -> bytes | None:
    """A cell in JSON times a factor, no digit lost; None: neither a number nor an array of numbers.

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


def _texts(said: MeasInfoRows) -> MeasInfoRows:
    """Values that are promised to be texts stay texts, also when they look like numbers: version 1.10 is not 1.1."""
    columns = [at for at, declared_type in enumerate(said.declared) if declared_type.type == "text"]
    if not columns:
        return said

    def texted(_name: bytes, cells: list[bytes]) -> int:
        for at in columns:
            cells[at] = _text(cells[at])
        return 0

    return replace(said, rows=[_mapped(some, texted, max(columns)) for some in said.rows])


def _text(value: bytes) -> bytes:
    if value == _NULL or value[:1] == b'"':
        return value
    if value[:1] == b"[":
        elements = [_text(element) for element in CELL.findall(value[1:-1])]
        return b'"' + b",".join(b"" if element == _NULL else element[1:-1] for element in elements) + b'"'
    return b'"' + value + b'"'


def _mapped(rows: Rows, change: Callable[[bytes, list[bytes]], int], last: int = -1) -> Rows:
    """Rows with other cells.

    Args:
        rows: as they are.
        change: gets object and cells of a row, in JSON; changes the cells, and tells how many values it took away.
        last: the last cell that it looks at; those behind may come as one. All of them when negative.
    """
    lines: list[bytes] = []
    taken = 0
    for line in rows.text.split(ROW_END):
        found = LINE.fullmatch(line)
        assert found, line  # our own text
        name, suspect, text = found.groups()
        is_plain = b'"' not in text and b"[" not in text
        cells = text.split(b",", last + 1 or -1) if is_plain else CELL.findall(text)
        taken += change(name, cells)
        lines.append(b"[" + b",".join((name, suspect, *cells)) + b"]")
    return Rows(ROW_END.join(lines), rows.height, rows.values - taken, rows.objects)


STEPS: Mapping[str, Callable[[MeasInfoRows, Preprocessing], MeasInfoRows]] = {
    "missing-tokens": missing_tokens,
    "element-alias": element_alias,
    "rename-counters": rename_counters,
    "units": units,
}
"""Those of shared.settings.STEPS but split-dn: a function of measObjLdn, which the sinks ask once for each object."""
