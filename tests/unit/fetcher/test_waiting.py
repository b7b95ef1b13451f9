"""Files that wait for one endpoint are taken together, in order, and no host occupies all threads."""

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.intake.endpoint_queues import EndpointOfPool, EndpointQueues, WorkGroup
from services.fetcher.intake.host_share import MOST_SHARES, share_of_host
from services.fetcher.intake.waiting_files import Announced, FilesTogether, WaitingFiles
from shared.messages import FileFound

FILES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 150)), max_size=40)


def announced(endpoint: str, size: int) -> Announced:
    file = FileFound(
        file_id="0", system="5ga", endpoint=endpoint, element=endpoint, path="/a", size=size, mtime_s=1, epoch=1
    )
    return Announced(file, lambda: None)


def put(waiting: WaitingFiles, *files: Announced) -> None:
    for one in files:
        waiting.put(EndpointOfPool("5ga", "host", "5ga", one.file.endpoint), one)


def taken(waiting: WaitingFiles) -> list[Announced]:
    """Takes a group and makes its thread free at once."""
    group = waiting.take("5ga")
    if group is None:
        return []
    assert {one.file.endpoint for one in group.items} == {group.at.endpoint}
    waiting.release(group)
    return group.items


@given(files=FILES)
def test_every_file_is_taken_once_in_order_with_others_of_its_endpoint_within_the_bounds(
    files: list[tuple[str, int]],
) -> None:
    waiting = WaitingFiles(FilesTogether(max_files=3, max_bytes=100), lambda _: 1)
    given_files = [announced(*file) for file in files]
    put(waiting, *given_files)
    groups = [taken(waiting) for _ in given_files]
    for group in groups:
        assert len(group) <= 3
        assert len(group) <= 1 or sum(one.file.size for one in group) <= 100
    for endpoint in "abc":
        of_endpoint = [one for group in groups for one in group if one.file.endpoint == endpoint]
        assert of_endpoint == [one for one in given_files if one.file.endpoint == endpoint]
    assert taken(waiting) == []


def test_files_within_the_bounds_are_taken_as_one_group() -> None:
    waiting = WaitingFiles(FilesTogether(max_files=3, max_bytes=100), lambda _: 1)
    put(waiting, *(announced("a", 30) for _ in range(4)))
    assert [len(taken(waiting)) for _ in range(3)] == [3, 1, 0]


@given(total=st.integers(1, 1000), hosts=st.integers(0, 1000))
def test_a_host_that_hangs_leaves_the_others_their_shares(total: int, hosts: int) -> None:
    share = share_of_host(total, hosts)
    assert 1 <= share <= total
    others = max(0, hosts - 1)
    assert total == 1 or total < MOST_SHARES or total - share >= min(0.8 * total, others * share)
    assert share_of_host(total, 1) == total


def at(host: str, endpoint: str) -> EndpointOfPool:
    return EndpointOfPool("moves", host, "4ga", endpoint)


def queues(threads: int, *, one_thread_per_endpoint: bool = False) -> EndpointQueues[int]:
    def split(waiting: deque[int]) -> list[int]:
        return [waiting.popleft()]

    return EndpointQueues(split, lambda _: threads, one_thread_per_endpoint)


def test_a_host_that_hangs_with_many_elements_leaves_four_fifths_of_the_threads_to_the_others() -> None:
    """Thread by thread: as many as there are take work that does not end, until nobody finds any."""
    waiting = queues(20)
    for n in range(100):
        waiting.put(at("hanging", f"e{n}"), n)
    for n in range(40):
        waiting.put(at(f"h{n}", f"f{n}"), n)
    held = Counter(group.at.host for _ in range(20) if (group := waiting.take("moves")))
    assert held.total() == 20
    assert held["hanging"] == 4
    assert len(held) == 17


def test_a_thread_that_leaves_a_host_takes_what_others_passed_over() -> None:
    waiting = queues(4)
    for n in range(3):
        waiting.put(at("a", f"e{n}"), n)
    waiting.put(at("b", "f"), 9)
    taken_groups: list[WorkGroup[int]] = [group for _ in range(4) if (group := waiting.take("moves"))]
    assert [group.items for group in taken_groups] == [[0], [1], [9]]  # two hosts: half of the threads each
    assert waiting.release(taken_groups[0])
    last = waiting.take("moves")
    assert last is not None
    assert last.items == [2]
    assert not any(waiting.release(group) for group in (*taken_groups[1:], last))
    assert waiting.take("moves") is None


def test_one_thread_at_a_time_works_for_an_endpoint_where_the_order_counts() -> None:
    waiting = queues(4, one_thread_per_endpoint=True)
    for n in range(2):
        waiting.put(at("a", "e"), n)
    first = waiting.take("moves")
    assert first is not None
    assert waiting.take("moves") is None
    assert waiting.release(first)
    second = waiting.take("moves")
    assert second is not None
    assert second.items == [1]
