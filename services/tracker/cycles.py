"""CycleStatistics: what became of one period's files in one system. Pure: figures of the ledger's newest statuses.

A file counts once, by its newest status, however often it was told: so the figures are the same after a restart, a
replay or a duplicate, and a late file changes those of its own cycle.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from shared.messages import CycleFigures, FileStatus, SinkPosition

Place = tuple[str, str, int]
"""Sink, topic, partition."""


@dataclass(frozen=True)
class CycleStatistics:
    """Of all systems; fed with the ledger, in the order of each of its partitions."""

    sinks: Mapping[str, Sequence[str]]
    """System -> the sinks its files land in."""
    lateness_s: float
    """A cycle closes so long after its end; a file written later is late."""
    keep_s: float
    """A cycle that ended longer ago is forgotten: its figures stay as they were published last."""
    files: dict[tuple[str, int], dict[str, FileStatus]] = field(default_factory=lambda: defaultdict(dict))
    """System and end of period -> file id -> newest status."""
    positions: dict[Place, int] = field(default_factory=dict)
    changed: set[tuple[str, int]] = field(default_factory=set)
    """Cycles with news since they were closed last."""

    def told(self, record: FileStatus | SinkPosition, now_s: float) -> None:
        """A record of the ledger; files whose name tells no period belong to no cycle."""
        if isinstance(record, SinkPosition):
            self.positions[record.sink, record.topic, record.partition] = record.next_offset
        elif record.end_s > now_s - self.keep_s:
            self.files[record.system, record.end_s][record.file_id] = record
            self.changed.add((record.system, record.end_s))

    def closed(self, now_s: float, expected: Mapping[str, Collection[str]]) -> Iterator[CycleFigures]:
        """Figures of the cycles that are to be closed now, or again because of late news."""
        for cycle in [cycle for cycle in self.files if cycle[1] <= now_s - self.keep_s]:
            del self.files[cycle]
            self.changed.discard(cycle)
        for system, end_s in sorted(self.changed):
            if now_s < end_s + self.lateness_s:
                continue
            figures = self.figures(system, end_s, expected.get(system, ()))
            if figures.done + figures.error + figures.lost == figures.files and all(
                n >= figures.parsed for n in figures.stored.values()
            ):
                self.changed.discard((system, end_s))  # else: looked at again until its files are through
            yield figures

    def figures(self, system: str, end_s: int, expected: Collection[str]) -> CycleFigures:
        """Of one cycle as it is now."""
        files = list(self.files.get((system, end_s), {}).values())
        parsed = [file for file in files if file.topic]
        seen = {file.endpoint for file in files} | {file.element for file in files}
        stages = [file.stage for file in files]
        stored = {sink: [f for f in parsed if self._stored(sink, f)] for sink in self.sinks.get(system, ())}
        return CycleFigures(
            system=system,
            end_s=end_s,
            expected=len(expected),
            missing=sorted(set(expected) - seen),
            files=len(files),
            elements=len({(file.endpoint, file.element) for file in files}),
            late=sum(file.mtime_s > end_s + self.lateness_s for file in files),
            parsed=len(parsed),
            stored={sink: len(landed) for sink, landed in stored.items()},
            done=stages.count("done"),
            error=stages.count("error") + stages.count("failed"),
            lost=stages.count("lost"),
            postponed=stages.count("postponed"),
            quarantined=sum(file.quarantined > 0 for file in files),
            values=sum(file.values for file in parsed),
            values_stored={sink: sum(file.values for file in landed) for sink, landed in stored.items()},
            values_quarantined=sum(file.quarantined for file in files),
            values_dropped=sum(file.dropped for file in files),
            bytes=sum(file.size for file in files),
            latency_s={
                "written": quantiles(file.mtime_s - end_s for file in files),
                "parsed": quantiles(file.parsed_s - end_s for file in parsed if file.parsed_s),
                "stored": quantiles(file.stored_s - end_s for file in parsed if file.stored_s),
            },
        )

    def _stored(self, sink: str, file: FileStatus) -> bool:
        return self.positions.get((sink, file.topic, file.partition), 0) > file.last_offset


def quantiles(latencies_s: Iterable[float]) -> list[float]:
    """The 50th and 95th percentile (nearest rank) and the maximum; none of nothing.

    >>> quantiles(range(1, 101))
    [50, 95, 100]
    """
    ranked = sorted(round(s, 3) for s in latencies_s)
    return [ranked[ceil(share * len(ranked)) - 1] for share in (0.5, 0.95, 1.0)] if ranked else []
