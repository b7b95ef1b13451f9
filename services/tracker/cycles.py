"""CycleStatistics: what became of one period's files in one system. Pure: figures of the ledger's newest records.

A file counts once, by its newest status, however often it was told: so the figures are the same after a restart, a
replay or a duplicate, and a late file changes those of its own cycle.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from services.tracker.states import State, state_of
from services.tracker.waiting import Waiting
from shared.cycle_figures import CycleFigures
from shared.messages import FileStatus, LedgerRecord, SetAside, SinkPosition
from shared.sink_positions import SinkPositions

Cycle = tuple[str, int]
"""System, end of period."""


@dataclass(frozen=True)
class CycleStatistics:
    """Of all systems; fed with the ledger, in the order of each of its partitions."""

    sinks: Callable[[str], Sequence[str]]
    """System -> the sinks its files land in; asked each time, so that it may change while running."""
    lateness_s: float
    """A cycle closes so long after its end; a file first announced later is late."""
    keep_s: float
    """A cycle that ended longer ago is forgotten: its figures stay as they were published last."""
    files: dict[Cycle, dict[str, FileStatus]] = field(default_factory=lambda: defaultdict(dict))
    """File id -> newest status."""
    cycle_of: dict[str, Cycle] = field(default_factory=dict)
    """By file id."""
    positions: SinkPositions = field(default_factory=SinkPositions)
    set_aside: dict[str, dict[str, SetAside]] = field(default_factory=lambda: defaultdict(dict))
    """File id -> key in the ledger -> what was set aside."""
    waiting: Waiting = field(default_factory=Waiting)
    """Files whose cycle changes when a sink has passed them."""
    changed: set[Cycle] = field(default_factory=set)
    """Cycles with news since they were closed last."""

    def told(self, record: LedgerRecord, now_s: float) -> None:
        """A record of the ledger; files of which nobody knows the period belong to no cycle."""
        match record:
            case SinkPosition():
                self.positions.record(record)
                in_sink = record.sink, record.topic, record.partition
                self._news_of(self.waiting.passed(in_sink, record.next_offset))
            case SetAside():
                self.set_aside[record.file_id][record.key] = record
                self._news_of([record.file_id])
            case FileStatus() if record.end_s > now_s - self.keep_s:
                cycle = record.system, record.end_s
                self.files[cycle][record.file_id] = record
                self.cycle_of[record.file_id] = cycle
                self.changed.add(cycle)
                for sink in self.sinks(record.system):
                    if record.topic and not self._is_stored(sink, record):
                        in_sink = sink, record.topic, record.partition
                        self.waiting.add(in_sink, record.last_offset, record.file_id)

    def untold(self, key: str) -> None:
        """A record was taken out of the ledger: what a sink had set aside was sent again."""
        _, _, rest = key.partition("/")
        file_id = rest.partition("/")[0]
        if self.set_aside.get(file_id, {}).pop(key, None) is not None:
            self._news_of([file_id])

    def closed(self, now_s: float, expected: Callable[[str], Collection[str]]) -> Iterator[CycleFigures]:
        """Figures of the cycles that are to be closed now, or again because of late news.

        Args:
            now_s: seconds since 1970.
            expected: system -> the names of its inventory; asked only for what is closed.
        """
        for cycle in [cycle for cycle in self.files if cycle[1] <= now_s - self.keep_s]:
            self._forget(cycle)
        due = sorted(
            (system, end_s)
            for system, end_s in self.changed
            if now_s >= end_s + self.lateness_s and self.sinks(system)  # else not configured any more: left as it was
        )
        names = {system: expected(system) for system in {system for system, _ in due}}
        for system, end_s in due:
            self.changed.discard((system, end_s))
            yield self.figures(system, end_s, names[system], now_s)

    def figures(self, system: str, end_s: int, expected: Collection[str], now_s: float) -> CycleFigures:
        """Of one cycle as it is now."""
        files = list(self.files.get((system, end_s), {}).values())
        parsed = [file for file in files if file.topic]
        seen = {file.endpoint for file in files} | {file.element for file in files}
        stages = Counter(file.stage for file in files)
        sinks = self.sinks(system)
        stored = {sink: [file for file in parsed if self._is_stored(sink, file)] for sink in sinks}
        aside = {sink: sum(self._values_aside(file.file_id, sink) for file in files) for sink in sinks}
        times: dict[str, list[float]] = {
            "written": [file.mtime_s for file in files],
            "found": [file.found_s for file in files if file.found_s],
            "fetched": [file.fetched_s for file in files if file.fetched_s],
            "parsed": [file.parsed_s for file in parsed if file.parsed_s],
            "stored": [file.stored_s for file in parsed if file.stored_s],
        }
        return CycleFigures(
            system=system,
            end_s=end_s,
            told_s=now_s,
            expected=len(expected),
            missing=sorted(set(expected) - seen),
            elements=len({(file.endpoint, file.element) for file in files}),
            found=len(files),
            late=sum((file.found_s or file.mtime_s) > end_s + self.lateness_s for file in files),
            fetched=len(times["fetched"]),
            parsed=len(parsed),
            stored={sink: len(landed) for sink, landed in stored.items()},
            done=stages["done"],
            error=stages["error"] + stages["failed"],
            lost=stages["lost"],
            postponed=stages["postponed"],
            quarantined=sum(file.quarantined > 0 or bool(self.set_aside.get(file.file_id)) for file in files),
            bytes=sum(file.size for file in files),
            batches=sum(file.batches for file in parsed),
            rows=sum(file.rows for file in parsed),
            suspect=sum(file.suspect for file in parsed),
            values=sum(file.values for file in parsed),
            values_stored={
                sink: sum(file.values - self._values_aside(file.file_id, sink) for file in landed)
                for sink, landed in stored.items()
            },
            values_set_aside=aside,
            values_quarantined=sum(file.quarantined for file in files),
            values_dropped=sum(file.dropped for file in files),
            retries=sum(file.attempt + file.tries - 2 for file in files),
            latency_s={stage: quantiles(at_s - end_s for at_s in found) for stage, found in times.items()},
            took_s=round(max(times["stored"]) - min(times["found"]), 3) if times["stored"] and times["found"] else 0.0,
        )

    def states(self, system: str, complete_on: Collection[str]) -> Counter[State]:
        """How many files of a system are in each state, of the cycles that are kept."""
        return Counter(
            state_of(
                file,
                stored=self.positions.is_stored_in_all(complete_on, file.topic, file.partition, file.last_offset),
                set_aside=bool(self.set_aside.get(file.file_id)),
            )
            for (name, _), files in self.files.items()
            if name == system
            for file in files.values()
        )

    def _news_of(self, file_ids: Iterable[str]) -> None:
        self.changed.update(self.cycle_of[file_id] for file_id in file_ids if file_id in self.cycle_of)

    def _forget(self, cycle: Cycle) -> None:
        self.changed.discard(cycle)
        for file_id in self.files.pop(cycle):
            self.cycle_of.pop(file_id, None)
            self.set_aside.pop(file_id, None)

    def _is_stored(self, sink: str, file: FileStatus) -> bool:
        return self.positions.is_stored(sink, file.topic, file.partition, file.last_offset)

    def _values_aside(self, file_id: str, sink: str) -> int:
        return sum(aside.values for aside in self.set_aside.get(file_id, {}).values() if aside.sink == sink)


def quantiles(latencies_s: Iterable[float]) -> list[float]:
    """The 50th and 95th percentile (nearest rank) and the maximum; none of nothing.

    >>> quantiles(range(1, 101))
    [50, 95, 100]
    """
    ranked = sorted(round(s, 3) for s in latencies_s)
    return [ranked[ceil(share * len(ranked)) - 1] for share in (0.5, 0.95, 1.0)] if ranked else []
