"""Epochs: recognises announcements of a former leader, which are discarded. Pure.

See docs/decisions/0010-leader-election.md.
"""

from collections.abc import Callable
from time import monotonic

EPOCH_ENDS_AFTER_S = 900.0
"""A leader that has announced nothing for this long no longer keeps lower epochs out."""


class Epochs:
    """The highest epoch seen in each partition, by system.

    What a leader announced before its successor stands before the successor's announcements in the same partition and
    is valid. Only what comes after them is from a leader that does not know it was replaced.

    An epoch that nobody announces any more ends: a damaged or hostile announcement with a huge one would otherwise
    keep every leader out. The files that were discarded meanwhile are announced again when their lease ends.
    """

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        self.clock_s = clock_s
        self.highest: dict[tuple[str, int], tuple[int, float]] = {}
        """(System, partition) -> epoch, and when it was announced last."""

    def current(self, system: str, partition: int, epoch: int) -> bool:
        """Returns whether an announcement is from the current leader."""
        now_s = self.clock_s()
        highest, seen_s = self.highest.get((system, partition), (epoch, now_s))
        if epoch < highest and now_s - seen_s < EPOCH_ENDS_AFTER_S:
            return False
        self.highest[system, partition] = epoch, now_s
        return True
