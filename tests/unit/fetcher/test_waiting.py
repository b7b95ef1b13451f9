"""Files that wait for one endpoint are taken together, within bounds; each is taken once, in order."""

from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.intake.waiting_files import Announced, WaitingFiles
from shared.messages import FileFound

FILES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 150)), max_size=40)


def announced(endpoint: str, size: int) -> Announced:
    file = FileFound(
        file_id="0", system="5ga", endpoint=endpoint, element=endpoint, path="/a", size=size, mtime_s=1, epoch=1
    )
    return Announced(file, lambda: None)


@given(files=FILES)
def test_every_file_is_taken_once_in_order_with_others_of_its_endpoint_within_the_bounds(
    files: list[tuple[str, int]],
) -> None:
    waiting = WaitingFiles(max_files=3, max_bytes=100)
    put = [announced(*file) for file in files]
    for one in put:
        waiting.put(one)
    groups = [waiting.take(one.file) for one in put]
    for group in groups:
        assert len(group) <= 3
        assert len(group) <= 1 or sum(one.file.size for one in group) <= 100
        assert len({one.file.endpoint for one in group}) <= 1
    for endpoint in "abc":
        taken = [one for group in groups for one in group if one.file.endpoint == endpoint]
        assert taken == [one for one in put if one.file.endpoint == endpoint]
    assert waiting.of_endpoint == {}


def test_files_within_the_bounds_are_taken_as_one_group() -> None:
    waiting = WaitingFiles(max_files=3, max_bytes=100)
    for _ in range(4):
        waiting.put(announced("a", 30))
    assert [len(waiting.take(announced("a", 30).file)) for _ in range(3)] == [3, 1, 0]
