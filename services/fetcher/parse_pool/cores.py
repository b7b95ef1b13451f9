"""The number of cores that this process may use: those it may run on, and no more than its container's CPU quota."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

CGROUPS = PurePosixPath("/sys/fs/cgroup")
OWN_CGROUPS = "/proc/self/cgroup"
Read = Callable[[str], str]
"""Returns the content of a file; empty if it cannot be read."""


def usable_cores(may_run_on: int, read: Read) -> int:
    """Returns the number of whole cores, at least 1.

    Args:
        may_run_on: number of cores in the affinity of the process.
        read: reads the files in which Linux tells the quotas of the process (cgroup v2 and v1).
    """
    return max(1, min([may_run_on, *(int(quota) for quota in _quotas(read))]))


def _quotas(read: Read) -> Iterator[float]:
    """Yields the quotas, in cores, of the control groups of the process and of those that contain them."""
    for line in read(OWN_CGROUPS).splitlines():
        match line.split(":", 2):
            case [_, "", path]:
                for group in _groups(CGROUPS, path):
                    quota, _, period = read(f"{group}/cpu.max").partition(" ")
                    yield from _quota(quota, period)
            case [_, controllers, path] if "cpu" in controllers.split(","):
                for group in _groups(CGROUPS / "cpu", path):
                    yield from _quota(read(f"{group}/cpu.cfs_quota_us"), read(f"{group}/cpu.cfs_period_us"))


def _groups(root: PurePosixPath, path: str) -> Iterator[PurePosixPath]:
    """Yields a group and those around it. In a container, the root is the group of the container itself."""
    group = root / path.strip("/")
    while group != root:
        yield group
        group = group.parent
    yield root


def _quota(quota: str, period: str) -> Iterator[float]:
    """Yields the cores that a quota allows; none where there is no limit ("max" and -1)."""
    quota, period = quota.strip(), period.strip()
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota) / int(period)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable_cores(affinity, _content)


def _content(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""
