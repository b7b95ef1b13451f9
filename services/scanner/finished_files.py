"""FinishedFiles: the set of files that a scanner has nothing more to do with, in about ten bytes each. Pure.

A file's identity is a digest of 64 bits, so the set keeps all of it and is exact. The identities lie in sorted arrays,
one per value of their first bits; as digests are spread evenly, each array stays short enough to insert into.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

BUCKET_BITS = 12
"""An insertion into one of 4,096 arrays moves 10 kB if there are 10,000,000 files: 0.3 us."""
SHIFT = 64 - BUCKET_BITS


class FinishedFiles:
    """A set of file ids as numbers below 2^64, each with the day from which it may be forgotten after a while."""

    def __init__(self) -> None:
        self.ids = [array("Q") for _ in range(1 << BUCKET_BITS)]
        """Sorted ids by their first bits."""
        self.days = [array("H") for _ in range(1 << BUCKET_BITS)]
        """The days of the same ids."""
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        for bucket in self.ids:
            yield from bucket

    def __contains__(self, file_id: int) -> bool:
        ids = self.ids[file_id >> SHIFT]
        at = bisect_left(ids, file_id)
        return at < len(ids) and ids[at] == file_id

    def add(self, file_id: int, day: int) -> None:
        """Adds a file, or changes its day.

        Args:
            file_id: the file's identity.
            day: days since 1970, below 65,536.
        """
        ids, days = self.ids[file_id >> SHIFT], self.days[file_id >> SHIFT]
        at = bisect_left(ids, file_id)
        if at < len(ids) and ids[at] == file_id:
            days[at] = day
        else:
            ids.insert(at, file_id)
            days.insert(at, day)
            self.count += 1

    def discard(self, file_id: int) -> None:
        """Removes a file; does nothing if it is not in the set."""
        ids, days = self.ids[file_id >> SHIFT], self.days[file_id >> SHIFT]
        at = bisect_left(ids, file_id)
        if at < len(ids) and ids[at] == file_id:
            del ids[at], days[at]
            self.count -= 1

    def forget_before(self, day: int) -> None:
        """Removes the files of earlier days, and returns memory that removed files have left unused."""
        for bucket, (ids, days) in enumerate(zip(self.ids, self.days, strict=True)):
            kept = ids, days
            if days and min(days) < day:
                left = [n for n, of_file in enumerate(days) if of_file >= day]
                kept = array("Q", [ids[n] for n in left]), array("H", [days[n] for n in left])
                self.count -= len(days) - len(left)
            self.ids[bucket], self.days[bucket] = kept[0][:], kept[1][:]  # an array does not shrink by itself
