"""A plan of faults depends on its seed alone, stays within its time, and never has two faults of one victim at once."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plan import REST_S, Fault, planned, usual_kinds

SERVICES = {"fetcher": ["fetcher-1", "fetcher-2"], "tracker": ["tracker-1", "tracker-2"]}
LINES = ["fetcher>elements", "fetcher>kafka", "tracker>kafka"]
KINDS = usual_kinds(SERVICES, ["elements", "kafka", "zookeeper"], LINES)

plans = st.builds(
    lambda seed, seconds, gap_s: (seconds, planned(seed, seconds, gap_s, KINDS)),
    st.integers(),
    st.floats(1.0, 600.0),
    st.floats(0.5, 20.0),
)


@given(st.integers(), st.floats(1.0, 600.0), st.floats(0.5, 20.0))
def test_the_same_seed_gives_the_same_plan(seed: int, seconds: float, gap_s: float) -> None:
    assert planned(seed, seconds, gap_s, KINDS) == planned(seed, seconds, gap_s, KINDS)


@given(plans)
def test_faults_are_in_order_numbered_and_within_the_time(found: tuple[float, list[Fault]]) -> None:
    seconds, plan = found
    assert [fault.at_s for fault in plan] == sorted(fault.at_s for fault in plan)
    assert [fault.number for fault in plan] == list(range(1, len(plan) + 1))
    assert all(fault.at_s >= 0 and fault.lasts_s >= 0 and fault.ends_s <= seconds + 0.02 for fault in plan)


@given(plans)
def test_two_faults_of_one_victim_have_a_pause_between_them(found: tuple[float, list[Fault]]) -> None:
    of_victim = defaultdict(list)
    for fault in found[1]:
        for victim in fault.victims:
            of_victim[victim].append(fault)
    for faults in of_victim.values():
        assert all(after.at_s >= before.ends_s + REST_S - 0.02 for before, after in pairwise(faults))


def test_a_long_plan_contains_every_kind_with_each_of_its_targets() -> None:
    plan = planned(1, 5_000.0, 1.0, KINDS)
    assert {(fault.kind, fault.target) for fault in plan} == {
        (kind.name, target) for kind in KINDS for target in kind.targets
    }


def test_another_seed_gives_another_plan() -> None:
    assert planned(1, 100.0, 2.0, KINDS) != planned(2, 100.0, 2.0, KINDS)


def test_a_process_is_sometimes_frozen_for_longer_than_any_session_lasts() -> None:
    assert any(fault.kind == "freeze" and fault.lasts_s > 12.0 for fault in planned(1, 600.0, 2.0, KINDS))
