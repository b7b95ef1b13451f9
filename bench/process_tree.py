"""CPU time and peak memory of a process with its children, from /proc."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RESIDENT, PEAK = "VmRSS", "VmHWM"
TICKS_S = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """The part of /proc/<pid>/stat that is used here."""

    parent: int
    cpu_s: float
    """User and system time, with that of children that have ended."""


def usage_of(stat: str) -> Usage:
    """Returns the usage from a line of /proc/<pid>/stat; the name in it may contain spaces and brackets.

    >>> usage_of("7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 100 50 20 30 20 0 1 0 0").parent
    3
    """
    fields = stat.rpartition(")")[2].split()
    return Usage(int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) / TICKS_S)


def tree(root: int) -> dict[int, Usage]:
    """Returns the usage of a process and of its living descendants."""
    all_of = dict(_all())
    found: dict[int, Usage] = {}
    parents = {root}
    while parents:
        found |= {pid: all_of[pid] for pid in parents if pid in all_of}
        parents = {pid for pid, usage in all_of.items() if usage.parent in parents and pid not in found}
    return found


def _all() -> Iterator[tuple[int, Usage]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), usage_of((entry / "stat").read_text())
            except OSError:  # it has ended
                continue


def cpu_s(pid: int) -> float:
    """Returns the CPU seconds of a process with all its children."""
    return sum(usage.cpu_s for usage in tree(pid).values())


def own_cpu_s(pid: int) -> float:
    """Returns the CPU seconds of a process without its living children; cheap enough to be called in a measurement."""
    return usage_of(Path(f"/proc/{pid}/stat").read_text()).cpu_s


def peak_mb(pid: int) -> float:
    """Returns the peak memory of a process and its living children, in MB."""
    return sum(memory_mb(one, PEAK) for one in tree(pid))


def memory_mb(pid: int, kind: str) -> float:
    """Returns the memory of one process in MB, `RESIDENT` or `PEAK`; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:")), 0.0)
