"""Limits how many bytes of downloaded files are in memory at once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Condition, Lock


class MemoryBudget:
    """Limits the bytes in memory at once over all threads; a file larger than the limit waits until it is alone."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.taken = 0
        self.changed = Condition()

    def resize(self, max_bytes: int) -> None:
        """Changes the limit; bytes that are taken stay taken."""
        with self.changed:
            if max_bytes != self.max_bytes:
                self.max_bytes = max_bytes
                self.changed.notify_all()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Blocks until `size` bytes are free."""
        with self.changed:
            self.changed.wait_for(lambda: self.taken + min(size, self.max_bytes) <= self.max_bytes)
            claim = min(size, self.max_bytes)
            self.taken += claim
        try:
            yield
        finally:
            with self.changed:
                self.taken -= claim
                self.changed.notify_all()


class MemoryShares:
    """Gives each system an equal share of the memory: files of one that is slow leave the others what is theirs."""

    def __init__(self, max_bytes: int, systems: Callable[[], int]) -> None:
        """Args: systems: returns the number of systems."""
        self.max_bytes = max_bytes
        self.systems = systems
        self.budgets: dict[str, MemoryBudget] = {}
        self.lock = Lock()

    def take(self, system: str, size: int) -> AbstractContextManager[None]:
        """Returns a context that begins when `size` bytes of the system's share are free."""
        share = self.max_bytes // max(1, self.systems())
        with self.lock:
            budget = self.budgets.setdefault(system, MemoryBudget(share))
        budget.resize(share)
        return budget.take(size)
