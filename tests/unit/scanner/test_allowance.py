"""Limits on the number of announced files, and their order, while elements finish one after the other."""

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.allowance import InFlightAllowance, SharedAllowance, select_files
from services.scanner.lister import ElementListing, ListedEntry, announcement
from shared.inventory import Endpoint
from shared.messages import FileFound
from shared.remote.session import Entry
from shared.settings import System


def listing_of(host: str, *cycles: int, name: str = "") -> ElementListing:
    endpoint = Endpoint(name=name or f"on-{host}", host=host)
    entries = [Entry(f"{cycle}.xml".encode(), 1, cycle) for cycle in cycles]
    files = {announcement("4ga", endpoint, b"/" + e.name, e, epoch=1): ListedEntry(b"/", e) for e in entries}
    return ElementListing(endpoint, files=files)


def announced(listings: list[ElementListing], system: System, in_flight: Mapping[str, int]) -> list[tuple[str, int]]:
    allowance = InFlightAllowance.remaining(system, in_flight, {"on-a": "a", "on-b": "b"})
    return names(select_files(listings, allowance, system.backlog_share))


def names(files: list[FileFound]) -> list[tuple[str, int]]:
    return [(file.endpoint, file.mtime_s) for file in files]


def shared(elements: int, backlog_share: float = 0.0, **limits: int) -> SharedAllowance:
    return SharedAllowance(allowance({}, **limits), backlog_share, elements)


def allowance(in_flight: Mapping[str, int] | None = None, **limits: int) -> InFlightAllowance:
    return InFlightAllowance.remaining(
        System(name="4ga", **limits),  # type: ignore[arg-type]
        in_flight or {},
        {f"on-{host}": host for host in "abcdef"},
    )


def test_a_full_queue_takes_the_newest_cycle_and_some_of_the_backlog_and_leaves_the_rest() -> None:
    system = System(name="4ga", in_flight_limit=4, backlog_share=0.25)
    listings = [listing_of("a", 1, 2, 3, 9), listing_of("b", 8, 9)]
    assert sorted(announced(listings, system, {})) == [("on-a", 1), ("on-a", 9), ("on-b", 8), ("on-b", 9)]
    assert announced(listings, system, {"on-a": 4}) == []
    assert announced(listings, system, {"on-a": 3}) in ([("on-a", 9)], [("on-b", 9)])


def test_a_host_gets_no_more_files_than_its_own_limit() -> None:
    system = System(name="4ga", in_flight_limit=10, in_flight_per_host=2, backlog_share=0.0)
    listings = [listing_of("a", 1, 2, 3, 9), listing_of("b", 8, 9)]
    assert sorted(announced(listings, system, {"on-a": 1})) == [("on-a", 9), ("on-b", 8), ("on-b", 9)]


def test_an_element_that_finishes_early_gets_its_part_and_more_only_when_the_others_have_had_theirs() -> None:
    room = shared(4, in_flight_limit=8)
    assert names(room.part([listing_of("a", *range(100))], others=3)) == [("on-a", 99), ("on-a", 98)]
    for host, others in (("b", 2), ("c", 1), ("d", 0)):
        assert names(room.part([listing_of(host, 50)], others)) == [(f"on-{host}", 50)]
    rest = room.rest(allowance({"on-a": 2, "on-b": 1, "on-c": 1, "on-d": 1}, in_flight_limit=8), others=0)
    assert names(rest) == [("on-a", 97), ("on-a", 96), ("on-a", 95)]


def test_the_share_of_elements_that_are_slow_is_kept_for_them() -> None:
    room = shared(2, in_flight_limit=8)
    assert len(room.part([listing_of("a", *range(100))], others=1)) == 4
    assert len(room.rest(allowance(in_flight_limit=8), others=1)) == 4  # the first four are stored by now
    assert len(room.part([listing_of("b", *range(100))], others=0)) == 4


def test_the_rest_is_the_newest_of_all_elements_and_a_share_of_the_oldest() -> None:
    room = shared(2, backlog_share=0.5, in_flight_limit=4)
    room.part([listing_of("a", 1, 2, 3, 4, 5, 6)], others=1)  # its part is 6 and 1
    room.part([listing_of("b", 7, 8)], others=0)
    rest = room.rest(allowance(in_flight_limit=2), others=0)
    assert sorted(names(rest)) == [("on-a", 2), ("on-a", 5)]


def test_listings_that_wait_for_their_second_one_keep_a_bounded_number_of_files() -> None:
    room = shared(100, in_flight_limit=1000)
    assert room.most_of("a") == 1000
    room.settling = 1500
    assert room.most_of("a") == 500
    room.settling = 100_000
    assert room.most_of("a") == 10
    assert shared(100, in_flight_limit=1000, in_flight_per_host=5).most_of("a") == 5


@pytest.mark.parametrize("backlog_share", [0.0, 0.3])
@settings(deadline=None)
@given(
    elements=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), min_size=1, max_size=8),
    limit=st.integers(1, 40),
    per_host=st.integers(0, 15),
    data=st.data(),
)
def test_whatever_finishes_together_the_limits_hold_and_no_room_is_left_over(
    backlog_share: float, elements: list[tuple[str, int]], limit: int, per_host: int, data: st.DataObject
) -> None:
    waiting = [listing_of(host, *range(count), name=f"e{n}") for n, (host, count) in enumerate(elements)]
    system = System(name="4ga", in_flight_limit=limit, in_flight_per_host=per_host)
    hosts = {one.endpoint.name: one.endpoint.host for one in waiting}
    room = SharedAllowance(InFlightAllowance.remaining(system, {}, hosts), backlog_share, len(waiting))
    found: list[FileFound] = []
    while waiting:
        together = data.draw(st.integers(1, len(waiting)))
        finished, waiting = waiting[:together], waiting[together:]
        found += room.part(finished, len(waiting))
        assert len(room.beyond) <= 2 * limit
    in_flight = Counter(file.endpoint for file in found)
    found += room.rest(InFlightAllowance.remaining(system, in_flight, hosts), 0)
    of_host = Counter(hosts[file.endpoint] for file in found)
    files = Counter[str]()
    for host, count in elements:
        files[host] += count
    assert len(found) == len(set(found)) <= limit
    assert all(of_host[host] <= (per_host or limit) for host in of_host)
    assert len(found) == min(limit, sum(min(count, per_host or limit) for count in files.values()))
