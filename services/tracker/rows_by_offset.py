"""RowsByOffset: the rows of cycles whose files lie before a position, found without looking at any other. Pure."""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

HALF: Final = 2**32 - 1


class CycleRow(NamedTuple):
    """Names a file by the number of its cycle and its row there, each of 32 bits."""

    cycle: int
    row: int


class InSink(NamedTuple):
    """Names a partition as one sink reads it."""

    sink: str
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class RowsByOffset:
    """Rows by partition and last offset. One may be outdated, so the caller checks the file itself."""

    heaps: dict[InSink, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Partition -> heap of offset, cycle and row in one number: small, and fast to compare."""

    def add(self, key: InSink, last_offset: int, at: CycleRow) -> None:
        heapq.heappush(self.heaps[key], last_offset << 64 | at.cycle << 32 | at.row)

    def passed(self, key: InSink, next_offset: int) -> Iterator[CycleRow]:
        """Removes and yields the rows that end before an offset, in order of their last offsets."""
        heap = self.heaps.get(key, [])
        while heap and heap[0] >> 64 < next_offset:
            found = heapq.heappop(heap)
            yield CycleRow(found >> 32 & HALF, found & HALF)

    def drop(self, cycles: Collection[int]) -> None:
        """Removes all rows of these cycles."""
        for heap in self.heaps.values():
            kept = [entry for entry in heap if entry >> 32 & HALF not in cycles]
            if len(kept) < len(heap):
                heapq.heapify(kept)
                heap[:] = kept
