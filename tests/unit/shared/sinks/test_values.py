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
)  # fmt: skip

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
        ([1, 2.5, None], "fraction"),
        ([1, 1e300], "fraction"),
        ([2**53 + 1, None, 1], "large"),
        ([2**53 + 1, 0.5], "mixed"),
        ([2**63], "mixed"),
        ([[1, 2], None], "vector"),
        (["up"], "mixed"),
        ([[1], 1], "mixed"),
    ],
)
def test_values_are_looked_at_together(column: list[Any], kind: ValueKind) -> None:
    assert value_kind(column) == kind


def test_a_column_is_what_the_dictionary_says_when_its_values_keep_their_value_there() -> None:
    assert column_kind("count") == "number"
    assert column_kind("count", "integer") == "integer"
    assert column_kind("fraction", "integer") == "number"
    assert column_kind("count", "vector") == "number"
    assert column_kind("vector", "text") == "text"


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
def test_a_column_holds_all_it_ever_got_whatever_the_order(batches: list[list[Any]], declared: str | None) -> None:
    kind = column_kind(value_kind(batches[0]), declared)
    for number, batch in enumerate(batches):
        kind = widened(kind, value_kind(batch))
        assert all(held(kind, v) for earlier in batches[: number + 1] for v in earlier if v is not None)


def test_text_holds_everything_so_a_column_widens_once_at_most() -> None:
    assert all("text" in kinds for kinds in HELD_BY.values())
    assert {widened("text", content) for content in HELD_BY} == {"text"}


@given(value=values)
def test_a_text_cell_keeps_the_value(value: Any) -> None:
    text = as_text(value)
    assert text == value if value is None or isinstance(value, str) else orjson.loads(text or "") == value


numbers = st.none() | st.integers(-(2**54), 2**54) | st.floats(-1e6, 1e6)


@given(column=st.lists(numbers) | st.lists(values))
def test_a_short_look_never_takes_for_exact_what_a_long_one_does_not(column: list[Any]) -> None:
    assert not are_exact(column) or "number" in HELD_BY[value_kind(column)]


@pytest.mark.parametrize("column", [[], [None], [1, None, 0.5], [2**53 - 1], [-5.0] * 1000])
def test_a_short_look_is_enough_for_what_files_bring(column: list[Any]) -> None:
    assert are_exact(column)


@pytest.mark.parametrize("column", [[2**53 + 1], [-(2**53) - 1, None], ["1"], [[1]], [2**2000], [None, "x"]])
def test_a_short_look_leaves_the_rest_to_the_long_one(column: list[Any]) -> None:
    assert not are_exact(column)
