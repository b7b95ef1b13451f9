"""Alive means progress: a service touches its file at each progress, `python -m shared.health` looks at its age.

/healthz of `shared/metrics.py` answers by the same rule. "Nothing to read" is progress too:
loops call `progress` each time round.
"""

import sys
import time
from pathlib import Path

from shared.settings import load

MAX_AGE_S = 120.0


class Heartbeat:
    """Touches the file at most once a second."""

    def __init__(self, file: str) -> None:
        self.file = Path(file) if file else None
        self.next_s = 0.0

    def progress(self) -> None:
        now_s = time.monotonic()
        if self.file and now_s >= self.next_s:
            self.file.touch()
            self.next_s = now_s + 1.0


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
