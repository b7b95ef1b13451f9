"""Acceptance cases of ONAP's data file collector, on one element of each protocol (docs/acceptance.md)."""

from typing import BinaryIO

import pytest

from shared.inventory import Endpoint
from shared.remote.service_manager import open_session
from shared.remote.session import Session
from shared.settings import Remote
from tests.fakes.elements import PROTOCOLS, Element
from tests.fakes.fetching import PM, Fetching

END = PM.rstrip().rindex(b"</")
COMMENT = b"<!--" + b"x" * 92 + b"-->\n"
REMOTE = sorted(set(PROTOCOLS) - {"local"})


def sized(size: int) -> bytes:
    """Returns a good file of this size: comments stand before its last end tag."""
    text = PM.rstrip()
    comments, spaces = divmod(size - len(text), len(COMMENT))
    return text[:END] + COMMENT * comments + b" " * spaces + text[END:]


@pytest.mark.parametrize("size", [1_000_000, 5_000_000, 50_000_000])
def test_a_file_of_each_size_is_fetched_once_with_all_its_values(element: Element, size: int) -> None:
    fetching = Fetching(element)
    small, large = fetching.file("small.xml"), fetching.file("A.xml", sized(size))
    assert large.size == size
    assert fetching.fetch(small, large) == {"small.xml": ["parsed"], "A.xml": ["parsed"]}
    assert fetching.said_of(large).values == fetching.said_of(small).values > 0
    assert len(fetching.done) == 2
    fetching.manager.close()


@pytest.mark.parametrize("element", REMOTE, indirect=True)
def test_a_line_cut_in_mid_download_of_a_large_file_costs_no_value(element: Element) -> None:
    received: list[int] = []

    class Cutting:
        """Receives a file; cuts the line after the first piece."""

        def __init__(self, out: BinaryIO) -> None:
            self.out = out

        def write(self, data: bytes) -> int:
            received.append(len(data))
            if len(received) == 1:
                element.cut()
            return self.out.write(data)

    def connected(endpoint: Endpoint, settings: Remote) -> Session:
        session = open_session(endpoint, settings)
        read_to, session.read_to = session.read_to, lambda path, size, out: read_to(path, size, Cutting(out))  # type: ignore[arg-type, method-assign]
        return session

    fetching = Fetching(element, connect=connected, attempts=2)
    file = fetching.file("A.xml", sized(50_000_000))
    assert fetching.fetch(file) == {"A.xml": ["parsed"]}
    assert sum(received) > 50_000_000  # the first attempt was given up in its midst
    assert fetching.said_of(file).values > 0
    assert (fetching.done, fetching.sessions()) == ([file], 2)
    fetching.manager.close()


def test_of_199_announced_files_the_179_that_are_there_arrive_and_20_are_lost(element: Element) -> None:
    fetching = Fetching(element)
    there = [fetching.file(f"A{number}.xml") for number in range(179)]
    gone = [fetching.vanished(f"gone{number}.xml") for number in range(20)]
    files = [*there]
    for number, file in enumerate(gone):
        files.insert(number * 10, file)
    assert fetching.fetch(*files) == {
        file.path.rpartition("/")[2]: ["lost" if file in gone else "parsed"] for file in files
    }
    assert len(fetching.done) == len(files) == 199
    fetching.manager.close()
