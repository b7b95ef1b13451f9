"""Each value that contradicts its declared type is counted, and rows without such values cost little."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.preprocess.declared import DeclaredType, contradicted, mistyped, types_found
from services.fetcher.rows.held import Rows

VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["up", "9" * 30, "-" + "9" * 30, 'a "quoted" [x', "1e999"]),
    st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=2, max_size=3),
)  # fmt: skip
TYPES = ("integer", "number", "text", "vector", "")


def fits(kind: str, value: Any) -> bool:
    """Returns True if a value fits its declared type, decided as plainly as possible."""
    is_whole = type(value) is int or (isinstance(value, str) and value.lstrip("-").isdecimal())
    if value is None or kind in {"", "text"} or is_whole:
        return True
    return type(value) in {"integer": (int,), "number": (float,), "vector": (list, float)}[kind]


@given(
    names=st.lists(st.text('a.e["\\', max_size=5), min_size=1, max_size=3),
    data=st.data(),
    types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=4),
)
def test_every_value_that_contradicts_its_type_is_counted(
    names: list[str], data: st.DataObject, types: list[str]
) -> None:
    table = [[name, 0, *(data.draw(VALUES) for _ in types)] for name in names]
    lines = [orjson.dumps(row).decode() for row in table]
    objects = [orjson.dumps(name).decode() for name in names]
    rows = Rows.from_lines(objects, lines, 0)
    declared = tuple(DeclaredType(kind) for kind in types)
    expected = {
        at: count
        for at, kind in enumerate(types)
        if (count := sum(not fits(kind, row[at + 2]) for row in table))
    }  # fmt: skip
    assert mistyped(declared, rows) == expected
    assert contradicted(declared, types_found(objects, rows)) or not expected


def test_rows_of_integers_alone_are_never_looked_at_one_by_one() -> None:
    objects, lines = ['"a.[e\\""', '"b"'], ['["a.[e\\"",0,1,null]', '["b",1,-5,0]']
    found = types_found(objects, Rows.from_lines(objects, lines, 3))
    assert not found
    assert not contradicted([DeclaredType("integer"), DeclaredType("vector")], found)
