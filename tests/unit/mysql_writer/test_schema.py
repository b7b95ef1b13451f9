from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.schema import COLUMN_COST, TABLE_CAPACITY, table_parts
from shared.sinks.values import ColumnKind


def test_a_table_is_filled_before_the_next_one_is_created() -> None:
    assert table_parts({"a": "number", "b": "number"}, [TABLE_CAPACITY - 1]) == {"a": 1, "b": 2}
    assert table_parts({"a": "number"}, [TABLE_CAPACITY, 3]) == {"a": 2}


@given(kinds=st.lists(st.sampled_from(tuple(COLUMN_COST)), max_size=500), taken=st.integers(0, 2 * TABLE_CAPACITY))
def test_no_table_exceeds_its_capacity(kinds: list[ColumnKind], taken: int) -> None:
    found = table_parts({str(n): kind for n, kind in enumerate(kinds)}, [taken])
    full: dict[int, int] = {}
    for counter, part in found.items():
        full[part] = full.get(part, taken if part == 1 else 0) + COLUMN_COST[kinds[int(counter)]]
    assert all(room <= TABLE_CAPACITY for room in full.values())
    assert found.keys() == {str(n) for n in range(len(kinds))}
