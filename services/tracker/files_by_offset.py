"""FilesByOffset: the files that lie before a position, found without looking at any other file. Pure."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FilesByOffset:
    """File ids by partition and last offset. An id may be outdated, so the caller checks the file itself."""

    heaps: dict[Hashable, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    """Any key that names a partition -> heap of last offsets and file ids."""

    def add(self, key: Hashable, last_offset: int, file_id: str) -> None:
        heapq.heappush(self.heaps[key], (last_offset, file_id))

    def passed(self, key: Hashable, next_offset: int) -> Iterator[str]:
        """Removes and yields the files that end before an offset, in order of their last offsets."""
        files = self.heaps.get(key, [])
        while files and files[0][0] < next_offset:
            yield heapq.heappop(files)[1]
