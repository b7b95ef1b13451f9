"""Threads that look at elements. One that hangs is left behind when the scan ends."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

WorkT = TypeVar("WorkT")


class Workers(Generic[WorkT]):
    """A pool of as many daemon threads as there is work at a time; only the thread that created it calls its methods.

    The caller bounds the work. Unlike an executor it does not wait for its threads, neither when it is closed nor when
    the process exits.
    """

    def __init__(self, work: Callable[[WorkT], None]) -> None:
        """Args: work: must not raise."""
        self.work = work
        self.given = SimpleQueue[WorkT | None]()
        self.done = SimpleQueue[WorkT]()
        self.in_work = 0
        self.threads = 0

    def submit(self, one: WorkT) -> None:
        """Hands work to a thread that is free, or to a new one."""
        self.in_work += 1
        if self.in_work > self.threads:
            self.threads += 1
            Thread(target=self._run, name="look", daemon=True).start()
        self.given.put(one)

    def ended(self, timeout_s: float) -> list[WorkT]:
        """Returns all work that has ended; waits for the first at most the given time."""
        found: list[WorkT] = []
        try:
            found.append(self.done.get(timeout=timeout_s))
            while True:
                found.append(self.done.get_nowait())
        except Empty:
            self.in_work -= len(found)
            return found

    def close(self) -> None:
        """Ends each thread as soon as it is free."""
        for _ in range(self.threads):
            self.given.put(None)

    def _run(self) -> None:
        while (one := self.given.get()) is not None:
            try:
                self.work(one)
            finally:
                self.done.put(one)
