from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.schema import ROOM, TAKES, parts
from shared.sinks.values import Kind


def test_a_table_is_filled_before_the_next_is_begun() -> None:
    assert parts({"a": "number", "b": "number"}, [ROOM - 1]) == {"a": 1, "b": 2}
    assert parts({"a": "number"}, [ROOM, 3]) == {"a": 2}


@given(kinds=st.lists(st.sampled_from(tuple(TAKES)), max_size=500), taken=st.integers(0, 2 * ROOM))
def test_no_table_holds_more_than_its_room(kinds: list[Kind], taken: int) -> None:
    found = parts({str(n): kind for n, kind in enumerate(kinds)}, [taken])
    full: dict[int, int] = {}
    for counter, part in found.items():
        full[part] = full.get(part, taken if part == 1 else 0) + TAKES[kinds[int(counter)]]
    assert all(room <= ROOM for room in full.values())
    assert found.keys() == {str(n) for n in range(len(kinds))}
