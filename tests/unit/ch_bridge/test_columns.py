from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.ch_bridge.columns import columns, numbers
from shared.messages import CounterBatch
from shared.values import HELD_BY, content_of


def batch(**changes: Any) -> CounterBatch:
    fields: dict[str, Any] = {
        "system": "4ga", "file_id": "f", "element": "e1", "group": "G", "job": "", "gp_s": 900, "end_s": 900,
        "end_offset_min": 0, "ver": 1, "counters": ["a"], "rows": [["o1", 0, 1], ["o2", 1, 2]],
    }  # fmt: skip
    return CounterBatch(**{**fields, **changes})


def test_batches_of_one_group_are_one_insert_whatever_counters_they_bring() -> None:
    (found,) = columns([batch(), batch(counters=["b"], rows=[["o3", 0, 3]]), batch(rows=[["o4", 0, 4]])])
    assert found.table == "4ga_G"
    assert found.keys["object"] == ["o1", "o2", "o3", "o4"]
    assert found.counters == {"a": [1, 2, None, 4], "b": [None, None, 3, None]}


def test_a_counter_without_any_value_needs_no_column() -> None:
    (found,) = columns([batch(rows=[["o1", 0, None]])])
    assert found.counters == {}


def test_the_token_is_of_the_content_alone() -> None:
    (one,), (same,), (other,) = columns([batch()]), columns([batch()]), columns([batch(rows=[["o1", 0, 9]])])
    assert one.token == same.token != other.token


def test_a_counter_called_like_a_key_gets_another_column() -> None:
    (found,) = columns([batch(counters=["ts"])])
    (name,) = found.counters
    assert name.startswith("ts_")


@given(values=st.lists(st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_numbers_are_packed_exactly_or_not_at_all(values: list[Any]) -> None:
    packed = numbers(values)
    assert (packed is None) == ("number" not in HELD_BY[content_of(values)])
    if packed is not None:
        assert [None if v is None else v for v in values] == [None if v != v else v for v in packed.tolist()]  # noqa: PLR0124
