"""Health is progress: a service touches its health file when it makes progress; the age of the file is its health.

`python -m shared.health` and /healthz of `shared/metrics.py` check the age. Having nothing to read is progress too:
loops call `progress` in each iteration.
"""

import os
import sys
import time
from pathlib import Path

from shared.settings import load

MAX_AGE_S = 120.0


class Heartbeat:
    """Records progress in a file, at most once a second."""

    def __init__(self, file: str, group: "list[Heartbeat] | None" = None) -> None:
        """Creates a heartbeat.

        Args:
            file: path of the health file; empty for none.
            group: all heartbeats that must make progress; the age of the file is that of the slowest.
        """
        self.file = Path(file) if file else None
        self.group = [self] if group is None else group
        self.next_s = 0.0
        self.last_s = 0.0

    def progress(self) -> None:
        self.last_s = time.time()
        now_s = time.monotonic()
        if self.file and now_s >= self.next_s and (slowest_s := min(one.last_s for one in self.group)):
            self.file.touch()
            os.utime(self.file, (slowest_s, slowest_s))
            self.next_s = now_s + 1.0


def heartbeats(file: str, count: int) -> list[Heartbeat]:
    """Returns heartbeats for threads that must all make progress: one that hangs or never starts makes the file old."""
    group: list[Heartbeat] = []
    group += (Heartbeat(file, group) for _ in range(count))
    return group


def stale(file: Path, now_s: float) -> str:
    """Returns why a service is considered dead, or an empty string."""
    if not file.is_file():
        return f"{file}: no heartbeat yet"
    age_s = now_s - file.stat().st_mtime
    return f"{file}: no progress for {age_s:.0f} s" if age_s > MAX_AGE_S else ""


def not_ready(file: Path, now_s: float, began_s: float) -> str:
    """Returns why a service started at `began_s` is not ready, or an empty string.

    A health file older than the start was written by the previous process.
    """
    trouble = stale(file, now_s)
    return trouble or ("" if file.stat().st_mtime >= began_s else f"{file}: no progress since the start")


if __name__ == "__main__":
    sys.exit(stale(Path(load().health.file), time.time()) or 0)
