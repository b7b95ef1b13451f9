"""Alive means progress: a service touches its file at each progress, `python -m shared.health` looks at its age.

/healthz of `shared/metrics.py` answers by the same rule. "Nothing to read" is progress too:
loops call `progress` each time round.
"""

import os
import sys
import time
from pathlib import Path

from shared.settings import load

MAX_AGE_S = 120.0


class Heartbeat:
    """Touches the file at most once a second."""

    def __init__(self, file: str, together: "list[Heartbeat] | None" = None) -> None:
        """`together`: all that must be alive; the file is as old as the last progress of the slowest."""
        self.file = Path(file) if file else None
        self.together = [self] if together is None else together
        self.next_s = 0.0
        self.last_s = 0.0

    def progress(self) -> None:
        self.last_s = time.time()
        now_s = time.monotonic()
        if self.file and now_s >= self.next_s and (slowest_s := min(one.last_s for one in self.together)):
            self.file.touch()
            os.utime(self.file, (slowest_s, slowest_s))
            self.next_s = now_s + 1.0


def heartbeats(file: str, count: int) -> list[Heartbeat]:
    """Of threads that must all be alive: none hides that another hangs, or never began."""
    together: list[Heartbeat] = []
    together += (Heartbeat(file, together) for _ in range(count))
    return together


def stale(file: Path, now_s: float) -> str:
    """Why a service counts as dead, or nothing."""
    if not file.is_file():
        return f"{file}: no sign of life yet"
    age_s = now_s - file.stat().st_mtime
    return f"{file}: no progress for {age_s:.0f} s" if age_s > MAX_AGE_S else ""


def not_ready(file: Path, now_s: float, began_s: float) -> str:
    """Why a service that began then does not work yet, or nothing; the file may be of the process before it."""
    trouble = stale(file, now_s)
    return trouble or ("" if file.stat().st_mtime >= began_s else f"{file}: no progress since the start")


if __name__ == "__main__":
    sys.exit(stale(Path(load().health.file), time.time()) or 0)
