"""Measures how CPU grows: python -m bench.growth --by elements|counters [--protocol local|sftp] [--points 10,1000]

`--by elements`: CPU per file at 10 to 10,000 elements, with 4,000 small files in a burst, spread over the elements (one
file per element at 10,000). `--by counters`: CPU per value at 10 to 1,000 counters in a group, with files of 50,000
values and 2,000,000 values in a burst; groups with fewer counters have more rows.

Each point is a fresh stack: a first burst warms it up, and the second one is measured from before a scan until all
files are done. Services and servers need CPU also when nothing happens. That share is measured just before the burst
and subtracted, so that a long burst does not look dearer than a short one. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.flow import Burst, product_of, running
from bench.flow_files import Load
from bench.flow_watch import CannotSucceed

IDLE_S = 15.0
FILES = 4000
SCAN_S = 60
VALUES_OF_GROUP = 10_000
"""Values of a group in one file."""

By = Literal["elements", "counters"]


@dataclass(frozen=True, slots=True)
class Point:
    """The CPU of one burst, without what is spent when nothing happens."""

    size: int
    """Number of elements, or of counters in a group."""
    files: int
    values: int
    files_s: float
    product_ms_per_file: float
    ms_per_file: float
    """CPU of the services and the servers."""
    product_s_per_million: float
    """CPU seconds per million values."""
    s_per_million: float
    idle_cores: float
    """CPU seconds of the services in each second in which nothing happens."""
    right: bool


def load_of(by: By, size: int, protocol: Literal["local", "sftp"]) -> Load:
    """Returns the load of a point.

    >>> load_of("elements", 10, "local").files, load_of("elements", 10000, "local").files
    (400, 1)
    >>> load_of("counters", 1000, "local").cells
    10
    """
    if by == "elements":
        return Load(elements=size, files=max(1, FILES // size), protocol=protocol, scan_s=SCAN_S)
    cells = VALUES_OF_GROUP // size
    return Load(elements=20, files=2, cells=cells, groups=5, counters=size, protocol=protocol, scan_s=SCAN_S)


def without_idle(burst: Burst, idle: Mapping[str, float]) -> dict[str, float]:
    """Returns the CPU seconds of a burst by process, without what each spends when nothing happens."""
    return {name: spent_s - idle.get(name, 0.0) * burst.counted_s for name, spent_s in burst.cpu_s.items()}


def point_of(size: int, burst: Burst, idle: Mapping[str, float], *, right: bool) -> Point:
    """Returns the figures of one burst."""
    spent_s = without_idle(burst, idle)
    product_s, all_s = product_of(spent_s), sum(spent_s.values())
    per_file, per_value = 1000 / burst.files, 1e6 / burst.values
    costs = product_s * per_file, all_s * per_file, product_s * per_value, all_s * per_value
    return Point(size, burst.files, burst.values, burst.files_s, *costs, product_of(idle), right)


def growth(costs: Iterable[float]) -> float:
    """Returns by how much the cost grows at most from one point to a later one; 1 if it only falls.

    >>> growth([4.0, 2.0, 3.0])
    1.5
    """
    lowest, most = float("inf"), 1.0
    for cost in costs:
        lowest = min(lowest, cost)
        most = max(most, cost / lowest)
    return most


def measured(size: int, load: Load) -> Point:
    """Measures one point."""
    with tempfile.TemporaryDirectory(prefix="pmflow-growth-") as home, running(load, Path(home)) as flow:
        flow.burst(cold=True)
        idle = flow.idle(IDLE_S)
        burst = flow.burst(cold=False)
        wrong = flow.wrong()
        print("\n".join(wrong[:5]), end="\n" if wrong else "")
        by_process = sorted(without_idle(burst, idle).items(), key=lambda item: -item[1])
        per = {name: 1000 * spent_s / burst.files for name, spent_s in by_process}
        print(f"{size:,}: CPU ms/file:", ", ".join(f"{name} {ms:.2f}" for name, ms in per.items()), flush=True)
        return point_of(size, burst, idle, right=not wrong)


def table(points: Iterable[Point]) -> str:
    """Returns the points as a table in Markdown."""
    head = (
        "| size | files | values | files/s | services, ms/file | everything, ms/file "
        "| services, s/million values | everything, s/million values | idle cores | right |\n" + "|---:" * 10 + "|"
    )
    rows = (
        f"| {p.size:,} | {p.files:,} | {p.values:,} | {p.files_s:.0f} | {p.product_ms_per_file:.2f} "
        f"| {p.ms_per_file:.2f} | {p.product_s_per_million:.2f} | {p.s_per_million:.2f} "
        f"| {p.idle_cores:.2f} | {'yes' if p.right else 'NO'} |"
        for p in points
    )
    return "\n".join((head, *rows))


def main() -> None:
    """Measures all points and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--by", choices=("elements", "counters"), default="elements")
    parser.add_argument("--protocol", choices=("local", "sftp"), default="local")
    parser.add_argument("--points", help="sizes, separated by commas")
    given = parser.parse_args()
    usual = "10,100,1000,10000" if given.by == "elements" else "10,100,1000"
    sizes = [int(size) for size in (given.points or usual).split(",")]
    try:
        points = [measured(size, load_of(given.by, size, given.protocol)) for size in sizes]
    except CannotSucceed as error:
        sys.exit(str(error))
    print(table(points))
    costs = [p.product_ms_per_file if given.by == "elements" else p.product_s_per_million for p in points]
    right = all(point.right for point in points)
    last = {"by": given.by, "growth": round(growth(costs), 2), "verified": right}
    print(json.dumps(last | {"points": [asdict(point) for point in points]}))
    sys.exit(not right)


if __name__ == "__main__":
    main()
