"""Files that wait for one endpoint are taken together, within bounds; each is taken once, in order."""

from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.intake.endpoint_queues import EndpointOfPool
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
