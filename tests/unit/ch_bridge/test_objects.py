"""The objects that the bridge remembers: bounded, and never one that was not added."""

from hypothesis import given
from hypothesis import strategies as st

from services.ch_bridge.objects import ObjectKey, RecentKeys

KEYS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30).map(str)), max_size=8)


@given(st.lists(KEYS, max_size=40), st.integers(2, 20))
def test_only_added_keys_are_known_and_no_more_than_the_limit(batches: list[list[ObjectKey]], most: int) -> None:
    known, added = RecentKeys(most), set[ObjectKey]()
    for batch in batches:
        missing = known.missing(set(batch))
        assert set(batch) - missing <= added
        known.add(missing)
        added.update(batch)
        assert len(known) <= most + 2 * 8  # a batch is added as a whole


def test_a_key_that_is_met_again_and_again_stays_known() -> None:
    known = RecentKeys(most=10)
    known.add([("e", "often")])
    for number in range(100):
        assert known.missing({("e", "often")}) == set()
        known.add([("e", str(number))])
