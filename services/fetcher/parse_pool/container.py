"""The limits of the container: the cores and the memory that this process may use."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

CGROUPS = PurePosixPath("/sys/fs/cgroup")
OWN_CGROUPS = "/proc/self/cgroup"
Read = Callable[[str], str]
"""Returns the content of a file; empty if it cannot be read."""
UNLIMITED = 1 << 60
"""Limits of at least this size are how cgroup v1 says that there is none."""


def usable_cores(may_run_on: int, read: Read) -> int:
    """Returns the number of whole cores that the CPU quota and the affinity of the process allow, at least 1.

    Args:
        may_run_on: number of cores in the affinity.
        read: reads the files in which Linux tells the quotas (cgroup v2 and v1).
    """
    quotas = [read(f"{group}/cpu.max").split() for group in _groups("", read)]
    quotas += [
        [read(f"{group}/cpu.cfs_quota_us").strip(), read(f"{group}/cpu.cfs_period_us").strip()]
        for group in _groups("cpu", read)
    ]
    return max(1, min([may_run_on, *(core for quota in quotas for core in _cores(quota))]))


def memory_limit_mb(read: Read) -> int | None:
    """Returns the memory that the control groups of the process allow; None: there is no limit."""
    limits = [read(f"{group}/memory.max").strip() for group in _groups("", read)]
    limits += [read(f"{group}/memory.limit_in_bytes").strip() for group in _groups("memory", read)]
    numbers = [int(limit) for limit in limits if limit.isdecimal() and int(limit) < UNLIMITED]
    return min(numbers) >> 20 if numbers else None


def _cores(quota: list[str]) -> Iterator[int]:
    """Yields the whole cores of a quota and its period; none if there is no limit ("max" and -1)."""
    match quota:
        case [quota_us, period_us] if quota_us.isdecimal() and period_us.isdecimal() and int(period_us):
            yield int(quota_us) // int(period_us)


def _groups(controller: str, read: Read) -> Iterator[PurePosixPath]:
    """Yields the group of the process and those around it. In a container, the root is the group of the container.

    Args:
        controller: a controller of cgroup v1; empty: cgroup v2, which has one hierarchy for all.
        read: see `usable_cores`.
    """
    root = CGROUPS / controller
    for line in read(OWN_CGROUPS).splitlines():
        match line.split(":", 2):
            case [_, controllers, path] if controller in controllers.split(","):
                group = root / path.strip("/")
                yield from [group, *(around for around in group.parents if around.is_relative_to(root))]


def cores() -> int:
    """Returns the number of cores that this process may use."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable_cores(affinity, content_of)


def content_of(file: str) -> str:
    """Returns the content of a file; empty if it cannot be read."""
    try:
        return Path(file).read_text()
    except OSError:
        return ""
