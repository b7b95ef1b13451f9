"""The fetcher follows the limits of its container, whichever way Linux tells them."""

from collections.abc import Mapping

import pytest

from services.fetcher.parse_pool.container import OWN_CGROUPS, cores, memory_limit_mb, usable_cores
from services.fetcher.settings import THREADS_PER_PARSER, FetcherSettings
from services.fetcher.wiring import check_memory

CONTAINER_V2 = {OWN_CGROUPS: "0::/\n"}
HOST_V2 = {OWN_CGROUPS: "0::/kubepods.slice/pod1.slice/cri-1.scope\n"}
CONTAINER_V1 = {OWN_CGROUPS: "4:memory:/docker/1\n3:cpu,cpuacct:/\n0::/\n"}
CFS = "/sys/fs/cgroup/cpu/{}cpu.cfs_{}_us"


@pytest.mark.parametrize(
    ("may_run_on", "files", "found"),
    [
        (8, {}, 8),  # not Linux, or no control groups
        (8, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        (8, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (8, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),  # whole cores only
        (8, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),  # at least one
        (2, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "400000 100000\n"}, 2),  # by its affinity
        (8, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "garbage\n"}, 8),
        (8, {**CONTAINER_V2, "/sys/fs/cgroup/cpu.max": "100000 0\n"}, 8),
        (8, {OWN_CGROUPS: "garbage", "/sys/fs/cgroup/cpu.max": "100000 100000"}, 8),
        (8, {**HOST_V2, "/sys/fs/cgroup/kubepods.slice/pod1.slice/cri-1.scope/cpu.max": "300000 100000"}, 3),
        (
            8,
            {
                **HOST_V2,
                "/sys/fs/cgroup/kubepods.slice/pod1.slice/cri-1.scope/cpu.max": "max 100000",
                "/sys/fs/cgroup/kubepods.slice/pod1.slice/cpu.max": "400000 100000",
                "/sys/fs/cgroup/kubepods.slice/cpu.max": "700000 100000",
            },
            4,
        ),
        (8, {**CONTAINER_V1, CFS.format("", "quota"): "-1\n", CFS.format("", "period"): "100000\n"}, 8),
        (8, {**CONTAINER_V1, CFS.format("", "quota"): "300000\n", CFS.format("", "period"): "100000\n"}, 3),
        (
            8,
            {
                OWN_CGROUPS: "3:cpu,cpuacct:/docker/1\n",
                CFS.format("docker/1/", "quota"): "150000",
                CFS.format("docker/1/", "period"): "50000",
            },
            3,
        ),
        (8, {OWN_CGROUPS: "5:cpuset:/\n", CFS.format("", "quota"): "1", CFS.format("", "period"): "1"}, 8),
    ],
)
def test_the_smallest_limit_counts(may_run_on: int, files: Mapping[str, str], found: int) -> None:
    assert usable_cores(may_run_on, lambda path: files.get(path, "")) == found


def test_this_process_may_use_a_core() -> None:
    assert cores() >= 1


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({**CONTAINER_V2, "/sys/fs/cgroup/memory.max": "max\n"}, None),
        ({**CONTAINER_V2, "/sys/fs/cgroup/memory.max": "5368709120\n"}, 5120),
        (
            {
                **HOST_V2,
                "/sys/fs/cgroup/kubepods.slice/pod1.slice/cri-1.scope/memory.max": "2147483648",
                "/sys/fs/cgroup/kubepods.slice/memory.max": "1073741824",
            },
            1024,
        ),
        ({**CONTAINER_V1, "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "2147483648\n"}, 2048),
        ({**CONTAINER_V1, "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_the_smallest_memory_limit_counts(files: Mapping[str, str], found: int | None) -> None:
    assert memory_limit_mb(lambda path: files.get(path, "")) == found


def test_a_fetcher_whose_container_may_be_killed_for_its_memory_says_so_at_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = FetcherSettings()
    assert own.memory_mb(3) - own.memory_mb(2) == own.parser_memory_mb + THREADS_PER_PARSER * own.parsed_memory_mb
    check_memory(own, 2, None)
    check_memory(own, 2, own.memory_mb(2))
    assert caplog.records == []
    check_memory(own, 2, 1024)
    (told,) = caplog.records
    assert (told.__dict__["limit_mb"], told.__dict__["needed_mb"]) == (1024, own.memory_mb(2))
