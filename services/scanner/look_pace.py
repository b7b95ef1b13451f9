"""LookPace: how many elements are looked at at a time, so that threads do not get into each other's way. Pure."""

from dataclasses import dataclass

FEWEST = 16
WINDOW_S = 0.25
"""Time between two changes."""
BUSY = 0.8
"""Share of one core from which more looks at a time make nothing faster: only one thread runs Python at a time."""


@dataclass
class LookPace:
    """Grows while the process leaves its core idle, because the elements answer slowly, and shrinks while it does not.

    Looks at elements that answer at once cost three times as much CPU when 192 threads take turns instead of 16.
    """

    most: int
    """Setting `listings`."""
    began_s: float
    """Start of the window; by the monotonic clock."""
    cpu_s: float
    """CPU time of the process at that moment."""

    def __post_init__(self) -> None:
        self.places = min(FEWEST, self.most)

    def places_now(self, now_s: float, cpu_s: float, in_work: int) -> int:
        """Returns how many looks there may be at a time.

        Args:
            now_s: the time, by the monotonic clock.
            cpu_s: CPU time of the process so far.
            in_work: looks at the living at this moment.
        """
        passed_s = now_s - self.began_s
        if passed_s >= WINDOW_S:
            if cpu_s - self.cpu_s >= BUSY * passed_s:
                self.places = max(min(FEWEST, self.most), self.places * 3 // 4)
            elif in_work >= self.places:
                self.places = min(self.most, self.places * 3 // 2 + 1)
            self.began_s, self.cpu_s = now_s, cpu_s
        return self.places
