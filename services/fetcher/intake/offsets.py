"""OffsetOrder: commits offsets in order although their work finishes out of order. Pure."""

from collections import deque


class OffsetOrder:
    """The offsets of one partition, in the order they were read."""

    def __init__(self) -> None:
        self.reading: deque[int] = deque()
        self.done: set[int] = set()

    def take(self, offset: int) -> None:
        """Adds an offset that was read and whose work begins."""
        self.reading.append(offset)

    def finish(self, offset: int) -> int | None:
        """Marks the work of an offset as durable. Returns the offset to commit if it moved, else None."""
        self.done.add(offset)
        moved = None
        while self.reading and self.reading[0] in self.done:
            moved = self.reading.popleft()
            self.done.discard(moved)
        return None if moved is None else moved + 1
