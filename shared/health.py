"""Health is progress: a service touches its health file when it makes progress; the age of the file is its health.

`python -m shared.health` and /healthz of `shared/metrics.py` check the age. Having nothing to read is progress too:
loops call `progress` in each iteration. The content of the file is what the service waits for, such as a database that
refuses it: /readyz and `python -m shared.health` tell it.
"""

import os
import sys
import time
from pathlib import Path
from threading import Lock

from shared.settings import load

MAX_AGE_S = 120.0


class Obstacles:
    """The obstacles to the work of this process, such as brokers that do not answer; any thread may report."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.reasons: dict[str, str] = {}
        """Reason by what reports it."""
        self.file: Path | None = None
        """The health file of the process, once it is known."""

    def report(self, source: str, reason: str) -> None:
        """Replaces what a source reported before; an empty reason withdraws it."""
        with self.lock:
            self.reasons.pop(source, None)
            if reason:
                self.reasons[source] = " ".join(reason.split())

    @property
    def text(self) -> str:
        with self.lock:
            return "; ".join(dict.fromkeys(self.reasons.values()))


OBSTACLES = Obstacles()
"""The obstacles of this process."""


class Heartbeat:
    """Records progress in a file, at most once a second."""

    def __init__(self, file: str, group: "list[Heartbeat] | None" = None) -> None:
        """Creates a heartbeat.

        Args:
            file: path of the health file; empty for none.
            group: all heartbeats that must make progress; the age of the file is that of the slowest.
        """
        self.file = Path(file) if file else None
        OBSTACLES.file = self.file
        self.group = [self] if group is None else group
        self.next_s = 0.0
        self.last_s = 0.0

    def progress(self) -> None:
        self.last_s = time.time()
        now_s = time.monotonic()
        if self.file and now_s >= self.next_s and (slowest_s := min(one.last_s for one in self.group)):
            _write(self.file, OBSTACLES.text, slowest_s)
            self.next_s = now_s + 1.0


def heartbeats(file: str, count: int) -> list[Heartbeat]:
    """Returns heartbeats for threads that must all make progress: one that hangs or never starts makes the file old."""
    group: list[Heartbeat] = []
    group += (Heartbeat(file, group) for _ in range(count))
    return group


def _write(file: Path, text: str, at_s: float) -> None:
    file.write_text(text)
    os.utime(file, (at_s, at_s))


def process_ends(reason: str) -> None:
    """Leaves the reason why the process exits in its health file, which then counts as old whatever it was before."""
    if OBSTACLES.file:
        _write(OBSTACLES.file, reason, 0.0)


def obstacle(file: Path) -> str:
    """Returns what a service waits for, or why it exited, by its health file; empty if nothing is known."""
    return file.read_text(errors="replace").strip() if file.is_file() else ""


def stale(file: Path, now_s: float) -> str:
    """Returns why a service is considered dead, or an empty string."""
    if not file.is_file():
        return f"{file}: no heartbeat yet"
    written_s = file.stat().st_mtime
    if now_s - written_s <= MAX_AGE_S:
        return ""
    silent = f"no progress for {now_s - written_s:.0f} s" if written_s else "the process exited"
    return _with_obstacle(f"{file}: {silent}", file)


def _with_obstacle(trouble: str, file: Path) -> str:
    reason = obstacle(file)
    return f"{trouble}; it reported: {reason}" if reason else trouble


def not_started(file: Path, now_s: float, began_s: float) -> str:
    """Returns why a service that began at `began_s` has not started yet, or an empty string.

    A health file older than that was written by the previous process.
    """
    trouble = stale(file, now_s)
    if trouble or file.stat().st_mtime >= began_s:
        return trouble
    return _with_obstacle(f"{file}: no progress since the start", file)


def main() -> int:
    """Prints why the service is dead, or what it waits for; returns 1 if it is dead."""
    file = Path(load().health.file)
    trouble = stale(file, time.time())
    if said := trouble or obstacle(file):
        sys.stderr.write(f"{said}\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
