"""The files of a burst: made beforehand in a folder that nobody reads, then moved to their elements at once."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import Literal

import yaml

from bench.flow_sums import Sums, sums_of
from tools.simulator.elements import SimulatedElements
from tools.simulator.generate import Shape, pm_file
from tools.simulator.truth import Written

SYSTEMS = ("4ga", "5ga")
GP_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The size of a burst, and how it is collected."""

    elements: int
    """Half of them are in each system."""
    files: int
    """Files of each element in a burst; each covers a period of its own."""
    cells: int = 3
    groups: int = 3
    counters: int = 20
    protocol: Literal["sftp", "local"] = "sftp"
    scan_s: int = 10
    """Interval between two scans: a divisor of 60, or whole minutes."""
    scans: int = 1
    """CPU is counted until so many scans have ended, and all files are done."""

    @property
    def sizes(self) -> dict[str, int]:
        """The number of elements by system."""
        return {"4ga": self.elements // 2, "5ga": self.elements - self.elements // 2}

    @property
    def shape(self) -> Shape:
        return Shape(cells=self.cells, groups=self.groups, counters=self.counters, gp_s=GP_S)

    @property
    def schedule(self) -> str:
        """The cron expression of the scans."""
        return f"*/{self.scan_s} * * * * *" if self.scan_s < 60 else f"0 */{self.scan_s // 60} * * * *"


LOADS = {
    "small": Load(elements=1000, files=4),
    "small-local": Load(elements=1000, files=4, protocol="local"),
    "large": Load(elements=40, files=14, cells=35, groups=7, counters=200),
    "burst": Load(elements=1000, files=1, scan_s=20, scans=3),
}
"""large: files of 49,000 values. The others: files of 180 values. burst: one file per element in three scans."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that is made but not yet visible."""

    staged: Path
    target: Path
    line: Written


def period_ends(newest_s: int, periods: int) -> list[int]:
    """Returns the ends of consecutive periods, the oldest first.

    >>> period_ends(9000, 2)
    [8100, 9000]
    """
    return [newest_s - ago * GP_S for ago in reversed(range(periods))]


def seconds_until(now_s: float, every_s: int, before_s: float) -> float:
    """Returns how long to wait for the moment that lies a little before the next of regular points in time.

    >>> seconds_until(100.0, 60, 5.0), seconds_until(115.0, 60, 5.0), seconds_until(116.0, 60, 5.0)
    (15.0, 0.0, 59.0)
    """
    return (-before_s - now_s) % every_s


def stage(elements: SimulatedElements, staging: Path, ends: Sequence[int]) -> tuple[list[StagedFile], Sums]:
    """Makes the files of all elements for some periods, on all cores, and adds them to the manifest.

    Returns the files, and the sums over their values.
    """
    staging.mkdir(parents=True, exist_ok=True)
    wanted = [(system, element, end_s) for end_s in ends for system, element in elements.names()]
    files, sums = [], Sums()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for staged, line, of_file in pool.map(partial(_make, elements.shape, staging), wanted, chunksize=8):
            elements.manifest.add(line)
            files.append(StagedFile(staged, elements.folder(line.system, line.element) / staged.name, line))
            sums.add(of_file)
    return files, sums


def _make(shape: Shape, staging: Path, wanted: tuple[str, str, int]) -> tuple[Path, Written, Sums]:
    made = pm_file(shape, *wanted)
    staged = staging / made.name
    staged.write_bytes(made.packed)
    return staged, Written.of(made, time()), sums_of(made.rows)


def publish(files: Sequence[StagedFile]) -> dict[tuple[str, str], float]:
    """Moves the files to their elements; returns the time at which each appeared, by element and file name."""
    written_s = {}
    for file in files:
        written_s[file.line.element, file.target.name] = time()
        os.utime(file.staged)
        file.staged.rename(file.target)
    return written_s


def write_local_inventory(elements: SimulatedElements) -> None:
    """Writes inventories by which the services read the elements' folders themselves."""
    folder = elements.directory / "inventory"
    folder.mkdir(exist_ok=True)
    for system in elements.systems:
        (folder / f"{system}.yaml").write_text(yaml.safe_dump(list(_local_entries(elements, system)), sort_keys=False))


def _local_entries(elements: SimulatedElements, system: str) -> Iterator[dict[str, str]]:
    for of_system, element in elements.names():
        if of_system == system:
            folder = str(elements.folder(system, element))
            yield {"name": element, "protocol": "local", "host": element, "directory": folder}
