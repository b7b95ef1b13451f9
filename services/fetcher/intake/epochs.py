"""Epochs: recognises announcements of a former leader, which are discarded. Pure.

See docs/decisions/0010-leader-election.md.
"""


class Epochs:
    """The highest epoch seen in each partition, by system.

    What a leader announced before its successor stands before the successor's announcements in the same partition and
    is valid. Only what comes after them is from a leader that does not know it was replaced.
    """

    def __init__(self) -> None:
        self.highest: dict[tuple[str, int], int] = {}

    def current(self, system: str, partition: int, epoch: int) -> bool:
        """Returns whether an announcement is from the current leader."""
        highest = max(epoch, self.highest.get((system, partition), epoch))
        self.highest[system, partition] = highest
        return epoch == highest
