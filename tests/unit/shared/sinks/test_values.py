from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sinks.values import (
    HELD_BY,
    ColumnKind,
    ValueKind,
    are_exact,
    as_text,
    column_kind,
    value_kind,
    widened,
)

values = (
    st.none()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.lists(st.none() | st.integers(0, 9), max_size=3)
)
declared = st.none() | st.sampled_from(("number", "integer", "vector", "text"))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([], "count"),
        ([None, 1, 2**53], "count"),
        ([-(2**53)], "count"),
        ([0.5, None], "fraction"),
        ([2**53, 1e300], "fraction"),
        ([-(2**53), -1e300], "fraction"),
        ([2**63 - 1], "large"),
        ([-(2**63) + 1], "large"),
        ([-(2**63)], "mixed"),
        ([1, 2.5, None], "fraction"),
        ([1, 1e300], "fraction"),
        ([2**53 + 1, None, 1], "large"),
        ([2**64 - 1], "mixed"),
        ([2**53 + 1, 0.5], "mixed"),
        ([2**63], "mixed"),
        ([[1, 2], None], "vector"),
        (["up"], "mixed"),
        ([[1], 1], "mixed"),
    ],
)
def test_the_kind_of_values_depends_on_all_of_them(column: list[Any], kind: ValueKind) -> None:
    assert value_kind(column) == kind


def test_a_column_has_the_declared_type_if_it_holds_the_values_exactly() -> None:
    assert column_kind("count") == "number"
    assert column_kind("count", "integer") == "integer"
    assert column_kind("fraction", "integer") == "number"
    assert column_kind("count", "vector") == "number"
    assert column_kind("vector", "text") == "text"


def test_a_column_that_holds_the_values_does_not_change() -> None:
    assert all(widened(column, kind) == column for kind, columns in HELD_BY.items() for column in columns)


def held(kind: ColumnKind, value: Any) -> bool:
    match kind:
        case "number":
            return isinstance(value, (int, float)) and float(value) == value
        case "integer":
            return isinstance(value, int) and -(2**63) <= value < 2**63
        case "vector":
            return isinstance(value, list)
        case "text":
            return True


@given(batches=st.lists(st.lists(values, max_size=4), min_size=1), declared=declared)
def test_a_column_holds_every_value_it_received_in_any_order(batches: list[list[Any]], declared: str | None) -> None:
    kind = column_kind(value_kind(batches[0]), declared)
    for number, batch in enumerate(batches):
        kind = widened(kind, value_kind(batch))
        assert all(held(kind, v) for earlier in batches[: number + 1] for v in earlier if v is not None)


def test_text_holds_everything_so_a_column_widens_at_most_once() -> None:
    assert all("text" in kinds for kinds in HELD_BY.values())
    assert {widened("text", content) for content in HELD_BY} == {"text"}


@given(value=values)
def test_a_text_cell_preserves_the_value(value: Any) -> None:
    text = as_text(value)
    assert text == value if value is None or isinstance(value, str) else orjson.loads(text or "") == value


numbers = st.none() | st.integers(-(2**54), 2**54) | st.floats(-1e6, 1e6)


@given(column=st.lists(numbers) | st.lists(values))
def test_are_exact_agrees_with_value_kind_when_it_is_true(column: list[Any]) -> None:
    assert not are_exact(column) or "number" in HELD_BY[value_kind(column)]


@pytest.mark.parametrize("column", [[], [None], [1, None, 0.5], [2**53 - 1], [-5.0] * 1000])
def test_are_exact_recognizes_the_usual_values_of_files(column: list[Any]) -> None:
    assert are_exact(column)


@pytest.mark.parametrize("column", [[2**53 + 1], [-(2**53) - 1, None], ["1"], [[1]], [2**2000], [None, "x"]])
def test_are_exact_is_false_for_values_that_value_kind_must_decide(column: list[Any]) -> None:
    assert not are_exact(column)


def test_an_unsigned_integer_of_64_bits_keeps_its_digits() -> None:
    assert column_kind(value_kind([2**64 - 1]), "integer") == "text"
    assert widened("number", value_kind([1, 2**63])) == "text"
    assert as_text(2**64 - 1) == "18446744073709551615"
    assert not are_exact([2**64 - 1])
