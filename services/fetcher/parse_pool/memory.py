"""Limits how many bytes of downloaded files are in memory at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class MemoryBudget:
    """Limits the bytes in memory at once over all threads; a file larger than the limit waits until it is alone."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.taken = 0
        self.changed = Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Blocks until `size` bytes are free."""
        claim = min(size, self.max_bytes)
        with self.changed:
            self.changed.wait_for(lambda: self.taken + claim <= self.max_bytes)
            self.taken += claim
        try:
            yield
        finally:
            with self.changed:
                self.taken -= claim
                self.changed.notify_all()
