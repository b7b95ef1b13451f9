"""The order in which a scan looks at its elements: the living wait neither for slow nor for silent ones."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.lister import ElementListing
from services.scanner.look_queue import SLOW_AFTER_S, SLOW_PER_LISTING, TRIALS_PER_LISTING, Look, LookQueue
from services.scanner.silent_elements import SilentElements
from shared.inventory import Endpoint

MANY = 1000


def look(name: str, host: str = "", *, is_trial: bool = False) -> Look:
    return Look(ElementListing(Endpoint(name=name, host=host or name)), is_trial=is_trial)


def queue_of(listings: int, connections: int = 8) -> LookQueue:
    return LookQueue(listings, lambda endpoint: endpoint.connections or connections)


def started(queue: LookQueue, now_s: float, trials: int = 0) -> list[str]:
    return [look.endpoint.name for look in queue.startable(now_s, queue.listings, trials)]


def test_a_slow_look_leaves_its_place_to_another_element() -> None:
    queue = queue_of(listings=2)
    queue.add(look(name) for name in "abcde")
    assert started(queue, 0.0) == ["a", "b"]
    assert started(queue, SLOW_AFTER_S - 0.1) == []
    assert started(queue, SLOW_AFTER_S) == ["c", "d"]


def test_slow_looks_are_bounded_and_those_beyond_keep_their_places() -> None:
    queue = queue_of(listings=1)
    queue.add(look(f"e{n}") for n in range(MANY))
    count = sum(len(started(queue, n * SLOW_AFTER_S)) for n in range(MANY))
    assert count == 1 + SLOW_PER_LISTING


def test_silent_elements_are_tried_in_places_of_their_own_and_take_none_of_the_living() -> None:
    queue = queue_of(listings=2)
    queue.add(look(f"silent{n}", is_trial=True) for n in range(MANY))
    queue.add(look(name) for name in "abc")
    assert started(queue, 0.0, trials=3) == ["a", "b", "silent0", "silent1", "silent2"]
    assert started(queue, 0.1, trials=0) == []
    assert started(queue, SLOW_AFTER_S, trials=1) == ["c", "silent3"]
    assert (queue.living_open, len(queue.untried())) == (3, MANY - 4)


def test_a_host_gets_no_more_looks_at_a_time_than_connections_and_other_hosts_go_on() -> None:
    queue = queue_of(listings=8, connections=2)
    first = [look(f"oss{n}", host="oss") for n in range(4)]
    queue.add([*first, look("other")])
    assert started(queue, 0.0) == ["oss0", "oss1", "other"]
    queue.end(first[0])
    assert started(queue, 0.1) == ["oss2"]


def test_a_trial_that_must_wait_keeps_no_living_element_of_its_host_waiting() -> None:
    queue = queue_of(listings=8, connections=1)
    first = look("first", host="oss")
    queue.add([first, look("living", host="oss"), look("silent", host="oss", is_trial=True)])
    assert started(queue, 0.0, trials=1) == ["first"]
    queue.end(first)
    assert started(queue, 0.1, trials=0) == ["living"]
    other = queue_of(listings=8, connections=1)
    other.add([first := look("first", host="oss"), look("silent", host="oss", is_trial=True)])
    assert started(other, 0.0, trials=1) == ["first"]
    other.add([look("living", host="oss")])
    assert started(other, 0.0, trials=1) == []
    other.end(first)
    assert started(other, 0.1, trials=0) == ["living"]


def test_a_second_look_that_is_due_comes_before_the_first_ones_that_wait() -> None:
    queue = queue_of(listings=1)
    queue.add([a := look("a"), look("b")])
    assert started(queue, 0.0) == ["a"]
    queue.end(a)
    queue.add_second(a, due_s=0.5)
    assert queue.next_due_s() == 0.5
    assert started(queue, 0.5) == ["a"]


def test_the_elements_untried_for_longest_are_tried_first_and_those_that_answer_are_silent_no_more() -> None:
    times = iter(range(10))
    silent = SilentElements(now_s=lambda: next(times))
    elements = {name: Endpoint(name=name) for name in "abc"}
    for name in "bacb":
        silent.failed(elements[name], "silent")
    assert [silence.endpoint.name for silence in silent.longest_untried_first()] == ["a", "c", "b"]
    silent.answered(elements["c"])
    assert [silence.endpoint.name for silence in silent.longest_untried_first()] == ["a", "b"]
    silent.forget_others({"a": Endpoint(name="a", host="corrected"), "b": elements["b"]})
    assert [silence.endpoint.name for silence in silent.longest_untried_first()] == ["b"]


elements = st.lists(st.tuples(st.sampled_from("xyz"), st.booleans(), st.booleans()), max_size=30)


@settings(deadline=None)
@given(elements=elements, listings=st.integers(1, 3), connections=st.integers(1, 3), data=st.data())
def test_every_living_element_is_looked_at_twice_within_all_limits(
    elements: list[tuple[str, bool, bool]], listings: int, connections: int, data: st.DataObject
) -> None:
    queue, now_s, ended = queue_of(listings, connections), 0.0, Counter[str]()
    looks = [look(f"e{n}", host, is_trial=is_trial) for n, (host, is_trial, _) in enumerate(elements)]
    hangs = {f"e{n}" for n, (*_, hangs) in enumerate(elements) if hangs}
    queue.add(looks)
    in_work: list[Look] = []
    while queue.living_open:
        in_work += queue.startable(now_s, queue.listings, data.draw(st.integers(0, TRIALS_PER_LISTING)))
        assert max(Counter(one.host for one in in_work).values(), default=0) <= connections
        assert len(queue.living) <= listings
        assert len(queue.slow) <= listings * SLOW_PER_LISTING
        quick = [one for one in in_work if one.endpoint.name not in hangs or one.is_second]
        if candidates := quick or in_work:  # one that hangs ends only when nothing else can
            one = data.draw(st.sampled_from(candidates))
            in_work.remove(one)
            queue.end(one)
            ended[one.endpoint.name] += 1
            if not one.is_second:
                queue.add_second(one, now_s + 1.0)
        now_s += 1.0
    living = {one.endpoint.name for one in looks if not one.is_trial}
    assert all(ended[name] == 2 for name in living)
    assert len(in_work) + len(queue.untried()) + sum(count == 2 for count in ended.values()) == len(looks)
