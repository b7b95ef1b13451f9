"""Offsets that move in order over work that is done out of order. Pure."""

from collections import deque


class InOrder:
    """One partition's offsets in the order they were read."""

    def __init__(self) -> None:
        self.reading: deque[int] = deque()
        self.done: set[int] = set()

    def take(self, offset: int) -> None:
        """An offset was read; its work begins."""
        self.reading.append(offset)

    def finish(self, offset: int) -> int | None:
        """Its work is durable; the next offset to commit when that moves."""
        self.done.add(offset)
        moved = None
        while self.reading and self.reading[0] in self.done:
            moved = self.reading.popleft()
            self.done.discard(moved)
        return None if moved is None else moved + 1
