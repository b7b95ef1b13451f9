from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ch_bridge.render import ColumnarRows, columnar_rows
from shared.errors import Hopeless
from shared.messages import CounterBatch
from shared.sinks.values import HELD_BY, ColumnKind, as_text, value_kind


def batch(**changes: Any) -> CounterBatch:
    fields: dict[str, Any] = {
        "system": "4ga", "file_id": "f", "element": "e1", "group": "G", "job": "", "gp_s": 900, "end_s": 900,
        "end_offset_min": 0, "ver": 1, "counters": ["a"], "rows": [["o1", 0, 1], ["o2", 1, 2]],
    }  # fmt: skip
    return CounterBatch(**{**fields, **changes})


def values(found: ColumnarRows, column: str) -> dict[str, Any]:
    """Returns a column's values by object."""
    return dict(zip(found.keys["object"].to_pylist(), found.values(column), strict=True))


def test_batches_of_one_group_are_one_insert_whatever_counters_they_bring() -> None:
    others = [batch(counters=["b"], rows=[["o3", 0, 3]]), batch(rows=[["o4", 0, 4]], element="e2", end_s=1800)]
    (found,) = columnar_rows([batch(), *others])
    assert (found.system, found.group) == ("4ga", "G")
    assert values(found, "a") == {"o1": 1, "o2": 2, "o3": None, "o4": 4}
    assert values(found, "b") == {"o1": None, "o2": None, "o3": 3, "o4": None}
    keys = {name: key.to_pylist() for name, key in found.keys.items()}
    keys["ts"] = [int(ts.timestamp()) for ts in keys["ts"]]
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*keys.values(), strict=True)]
    assert [(row["object"], row["element"], row["ts"], row["suspect"]) for row in rows] == [
        ("o1", "e1", 900, 0), ("o2", "e1", 900, 1), ("o4", "e2", 1800, 0), ("o3", "e1", 900, 0)
    ]  # fmt: skip
    assert len({row["part"] for row in rows}) == 2
    assert found.objects() == {("e1", "o1"), ("e1", "o2"), ("e1", "o3"), ("e2", "o4")}


def test_a_counter_without_any_value_needs_no_column() -> None:
    (found,) = columnar_rows([batch(rows=[["o1", 0, None]])])
    assert not found.counters


def test_the_declared_type_and_unit_come_from_any_batch_that_has_them() -> None:
    (found,) = columnar_rows(
        [batch(counters=["a", "b"], rows=[["o", 0, 1, 2]]), batch(types={"a": "text"}, units={"a": "s"})]
    )
    assert (found.declared("a"), found.declared("b")) == (("text", "s"), (None, ""))


@pytest.mark.parametrize(
    "changes",
    [{"rows": [["o", 0]]}, {"counters": ["a", "a"], "rows": [["o", 0, 1, 1]]},
     {"rows": [["o", 0, 1, 2]]}, {"end_s": 2**32}, {"end_s": -1}, {"gp_s": -1}, {"ver": 2**63},
     {"rows": [["o", 256, 1]]}, {"rows": [[7, 0, 1]]}, {"rows": [["o", None, None], ["o", "x", None]]}],
)  # fmt: skip
def test_rows_that_no_table_accepts_are_hopeless(changes: dict[str, Any]) -> None:
    with pytest.raises(Hopeless, match="G: "):
        list(columnar_rows([batch(), batch(**changes)]))


cells = (
    st.none()
    | st.integers(-9, 9)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.lists(st.integers(-9, 9), max_size=2)
)
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=3), max_size=3)
)


@given(batches=tables)
def test_values_are_packed_exactly_or_not_at_all(batches: list[list[list[Any]]]) -> None:
    names = ["a", "b", "c"][: max((len(row) for rows in batches for row in rows), default=1)]
    made = [batch(counters=names, rows=[["o", 0, *row] for row in rows]) for rows in batches]
    for found in columnar_rows(made):
        for at, name in enumerate(names):
            sent = [row[at] for rows in batches for row in rows]
            assert (name in found.counters) == any(v is not None for v in sent)
            if name in found.counters:
                assert_held(found, name, sent)


def assert_held(found: ColumnarRows, name: str, sent: list[Any]) -> None:
    """Asserts that the values are unchanged in each kind of column that holds them."""
    held = set(HELD_BY[value_kind(sent)])
    assert set(HELD_BY[found.value_kind(name)]) >= held
    assert (found.numbers[name] is None) == ("number" not in held)
    read: dict[ColumnKind, list[Any]] = {
        kind: found.cells(name, kind).to_pylist() for kind in HELD_BY[found.value_kind(name)] if kind != "vector"
    }
    texts = read.pop("text")
    assert texts == list(map(as_text, sent))
    for numbers in read.values():
        assert numbers == sent
