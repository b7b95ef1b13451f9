"""Waiting: which files lie before a sink's position; asked for each position, it looks only at those it has passed."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Waiting:
    """File ids by place and last offset. What it gives back may be old news: the asker looks at the file itself."""

    places: dict[Hashable, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: Hashable, last_offset: int, file_id: str) -> None:
        heapq.heappush(self.places[place], (last_offset, file_id))

    def passed(self, place: Hashable, next_offset: int) -> Iterator[str]:
        """Take out the files of a place that end before an offset, in their order."""
        files = self.places.get(place, [])
        while files and files[0][0] < next_offset:
            yield heapq.heappop(files)[1]

    def count(self) -> int:
        return sum(map(len, self.places.values()))
