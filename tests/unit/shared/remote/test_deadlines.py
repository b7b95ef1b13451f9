"""One thread ends the sessions that are lent for too long."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.deadlines import Deadlines
from shared.remote.local import LocalSession

ENDPOINT = Endpoint(name="a")


class Hanging(LocalSession):
    """A session whose use ends only when it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = Event()

    def abort(self) -> None:
        self.aborted.set()

    def hang(self) -> None:
        assert self.aborted.wait(10)
        raise Unreachable("broken off")


def lend(deadlines: Deadlines, session: Hanging) -> None:
    with deadlines.limit(session, ENDPOINT):
        session.hang()


def test_each_session_that_is_lent_for_too_long_is_aborted_and_named() -> None:
    deadlines, sessions = Deadlines(0.05), [Hanging() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        for ending in [pool.submit(lend, deadlines, session) for session in sessions]:
            with pytest.raises(Unreachable, match=r"Endpoint\(a, .*not finished within 0 s"):
                ending.result()
    assert deadlines.lends == {}


def test_a_session_that_is_returned_in_time_is_left_alone_and_its_errors_are_its_own() -> None:
    deadlines, kept, late = Deadlines(0.05), Hanging(), Hanging()
    with deadlines.limit(kept, ENDPOINT):
        pass
    with pytest.raises(ValueError, match="mine"), deadlines.limit(kept, ENDPOINT):
        raise ValueError("mine")
    with pytest.raises(Unreachable, match="not finished"):
        lend(deadlines, late)  # lent later, so the others would have been aborted by then
    assert not kept.aborted.is_set()


def test_the_thread_ends_when_nothing_is_lent_and_starts_again() -> None:
    deadlines = Deadlines(0.01)
    for _ in range(2):
        with deadlines.limit(Hanging(), ENDPOINT):
            thread = deadlines.thread
        if thread is not None:
            thread.join(10)
        assert deadlines.thread is None
