"""Epochs: announcements of a leader that was followed by another are dropped. Pure.

See docs/decisions/0010-leader-election.md.
"""


class Epochs:
    """The highest epoch seen, per system and partition.

    Per partition: what a leader announced before its successor stands before the successor's in the same partition
    and is good; only what comes after is a leader's that does not know it was followed.
    """

    def __init__(self) -> None:
        self.highest: dict[tuple[str, int], int] = {}

    def current(self, system: str, partition: int, epoch: int) -> bool:
        """Whether an announcement counts."""
        highest = max(epoch, self.highest.get((system, partition), epoch))
        self.highest[system, partition] = highest
        return epoch == highest
