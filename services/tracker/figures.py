"""Computes the figures of one cycle from its files. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from shared.cycle_figures import CycleFigures
from shared.messages import FileStatus, SetAside

LARGEST_COUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CycleFiles:
    """The files of one cycle, and what the sinks made of them."""

    system: str
    end_s: int
    late_after_s: float
    """A file announced first after this time is late."""
    files: Sequence[FileStatus]
    stored: Mapping[str, Sequence[FileStatus]]
    """Sink -> files that it has stored."""
    set_aside: Mapping[str, Sequence[SetAside]]
    """File id -> parts that sinks have set aside."""

    @property
    def parsed(self) -> list[FileStatus]:
        """Files whose batches are in the counters topic."""
        return [file for file in self.files if file.topic]

    @property
    def late(self) -> int:
        return sum((file.found_s or file.mtime_s) > self.late_after_s for file in self.files)

    @property
    def quarantined(self) -> int:
        """Files of which the parser or a sink has set some values aside."""
        return sum(file.quarantined > 0 or bool(self.set_aside[file.file_id]) for file in self.files)

    def values_set_aside(self, files: Iterable[FileStatus], sink: str) -> int:
        """Returns the number of values of these files that a sink has set aside."""
        return count(part.values for file in files for part in self.set_aside[file.file_id] if part.sink == sink)

    def times(self) -> dict[str, list[float]]:
        """Returns when the files reached each stage: stage -> seconds since 1970 of each file that did."""
        return {
            "written": [file.mtime_s for file in self.files],
            "found": [file.found_s for file in self.files if file.found_s],
            "fetched": [file.fetched_s for file in self.files if file.fetched_s],
            "parsed": [file.parsed_s for file in self.parsed if file.parsed_s],
            "stored": [file.stored_s for file in self.parsed if file.stored_s],
        }


def figures_of_cycle(cycle: CycleFiles, expected: Collection[str], now_s: float) -> CycleFigures:
    """Returns the figures of a cycle.

    Args:
        cycle: its files.
        expected: the elements in the inventory of the system.
        now_s: seconds since 1970.
    """
    files, parsed, stored, times = cycle.files, cycle.parsed, cycle.stored, cycle.times()
    reporting = {file.endpoint for file in files} | {file.element for file in files}
    stages = Counter(file.stage for file in files)
    return CycleFigures(
        system=cycle.system, end_s=cycle.end_s, told_s=now_s,
        expected=len(expected), missing=sorted(set(expected) - reporting),
        elements=len({(file.endpoint, file.element) for file in files}), found=len(files), late=cycle.late,
        fetched=len(times["fetched"]), parsed=len(parsed), stored={sink: len(has) for sink, has in stored.items()},
        done=stages["done"], error=stages["error"] + stages["failed"], lost=stages["lost"],
        postponed=stages["postponed"], quarantined=cycle.quarantined,
        bytes=count(file.size for file in files), batches=count(file.batches for file in parsed),
        rows=count(file.rows for file in parsed), suspect=count(file.suspect for file in parsed),
        values=count(file.values for file in parsed),
        values_stored={
            sink: count(file.values for file in has) - cycle.values_set_aside(has, sink) for sink, has in stored.items()
        },
        values_set_aside={sink: cycle.values_set_aside(files, sink) for sink in stored},
        values_quarantined=count(f.quarantined for f in files), values_dropped=count(f.dropped for f in files),
        retries=count(file.attempt + file.tries - 2 for file in files),
        latency_s={stage: quantiles(at_s - cycle.end_s for at_s in reached) for stage, reached in times.items()},
        took_s=round(max(times["stored"]) - min(times["found"]), 3) if times["stored"] and times["found"] else 0.0,
    )  # fmt: skip


def count(numbers: Iterable[int]) -> int:
    """Returns the sum, within what a message and a database hold: a ledger record may state any number."""
    return min(max(0, sum(numbers)), LARGEST_COUNT)


def quantiles(latencies_s: Iterable[float]) -> list[float]:
    """Returns the 50th and 95th percentile (nearest rank) and the maximum; an empty list if there is no latency.

    >>> quantiles(range(1, 101))
    [50, 95, 100]
    """
    ranked = sorted(round(s, 3) for s in latencies_s)
    return [ranked[ceil(share * len(ranked)) - 1] for share in (0.5, 0.95, 1.0)] if ranked else []
