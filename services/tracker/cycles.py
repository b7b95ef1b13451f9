"""CycleStatistics: keeps the newest records of the ledger by cycle, and closes cycles. Pure.

A cycle is one period of one system. A file counts once, by its newest status, however often it was reported. So the
figures are the same after a restart, a replay or a duplicate, and a late file changes those of its own cycle.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from services.tracker.figures import CycleFiles, figures_of_cycle
from services.tracker.files_by_offset import FilesByOffset
from services.tracker.states import State, state_of
from shared.cycle_figures import CycleFigures
from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, SetAside, SinkPosition
from shared.sink_positions import SinkPositions, is_in
from shared.stages import READ_STAGES, SETTLED_EARLIER

Cycle = tuple[str, int]
"""System and end of the period."""


def known_status(known: FileStatus | None, told: FileStatus) -> FileStatus:
    """Returns the status that counts, of the one known before and the newest one.

    A second announcement says nothing about a file that was read: it keeps its figures and its reason until it is read
    again. A file that is retried becomes `postponed` first, and is then like a new one.
    """
    if known is None or known.stage not in READ_STAGES:
        return told
    if told.stage in {"found", "fetching", "lost"}:
        return known
    if told.reason == SETTLED_EARLIER:
        return replace(known, stage=told.stage, at_s=told.at_s, moves_refused=0, not_moved="")
    return told


@dataclass(frozen=True)
class CycleStatistics:
    """The cycles of all systems; receives the whole ledger, each partition in order."""

    sinks: Callable[[str], Sequence[str]]
    """System -> the sinks that store its files; called each time, as it may change while running."""
    lateness_s: float
    """A cycle closes this long after its end; a file announced first after that is late."""
    keep_s: float
    """A cycle that ended longer ago is dropped; its last published figures stay."""
    files: dict[Cycle, dict[str, FileStatus]] = field(default_factory=lambda: defaultdict(dict))
    """File id -> newest status."""
    cycle_of: dict[str, Cycle] = field(default_factory=dict)
    """File id -> its cycle."""
    positions: SinkPositions = field(default_factory=SinkPositions)
    set_aside: dict[str, dict[str, SetAside]] = field(default_factory=lambda: defaultdict(dict))
    """File id -> key in the ledger -> what was set aside."""
    not_stored: FilesByOffset = field(default_factory=FilesByOffset)
    """Files whose cycle changes when the position of a sink passes them."""
    changed: set[Cycle] = field(default_factory=set)
    """Cycles that changed since they were last closed."""

    def on_record(self, record: LedgerRecord, now_s: float) -> None:
        """Takes a record of the ledger. A file whose period is not known belongs to no cycle."""
        match record:
            case SinkPosition():
                self.positions.record(record)
                in_sink = record.sink, record.topic, record.partition
                self._mark_changed(self.not_stored.passed(in_sink, record.next_offset))
            case OffsetGap():
                self.positions.record_gap(record)
                self._mark_changed(file.file_id for file in self.files_in(record))
            case SetAside():
                self.set_aside[record.file_id][record.key] = record
                self._mark_changed([record.file_id])
            case FileStatus() if record.end_s > now_s - self.keep_s:
                cycle = record.system, record.end_s
                record = known_status(self._known(record.file_id), record)
                self.files[cycle][record.file_id] = record
                self.cycle_of[record.file_id] = cycle
                self.changed.add(cycle)
                for sink in self.sinks(record.system):
                    if record.topic and not self._is_stored(sink, record):
                        in_sink = sink, record.topic, record.partition
                        self.not_stored.add(in_sink, record.last_offset, record.file_id)

    def files_in(self, gap: OffsetGap) -> Iterator[FileStatus]:
        """Yields the files of all cycles with a batch in the gap."""
        for files in self.files.values():
            for file in files.values():
                if (file.topic, file.partition) == (gap.topic, gap.partition) and is_in(gap, file):
                    yield file

    def on_removed(self, key: str) -> None:
        """Takes the removal of a ledger entry: what a sink had set aside was sent again."""
        _, _, rest = key.partition("/")
        file_id = rest.partition("/")[0]
        if self.set_aside.get(file_id, {}).pop(key, None) is not None:
            self._mark_changed([file_id])

    def closed(self, now_s: float, expected: Callable[[str], Collection[str]]) -> Iterator[CycleFigures]:
        """Yields the figures of cycles that close now, or that changed after they were closed.

        Args:
            now_s: seconds since 1970.
            expected: system -> the elements in its inventory; called only for systems with a cycle to close.
        """
        yield from self.figures_of(self.due(now_s), expected, now_s)

    def due(self, now_s: float) -> list[Cycle]:
        """Returns the cycles that close now or changed after they were closed; they count as unchanged then."""
        for cycle in [cycle for cycle in self.files if cycle[1] <= now_s - self.keep_s]:
            self._drop(cycle)
        due = sorted(
            (system, end_s)
            for system, end_s in self.changed
            if now_s >= end_s + self.lateness_s and self.sinks(system)  # a system that was removed keeps its figures
        )
        self.changed.difference_update(due)
        return due

    def figures_of(
        self, cycles: Collection[Cycle], expected: Callable[[str], Collection[str]], now_s: float
    ) -> Iterator[CycleFigures]:
        """Yields the figures of cycles at this moment; calls `expected` once for each of their systems."""
        elements = {system: expected(system) for system in {system for system, _ in cycles}}
        for system, end_s in cycles:
            yield self.figures(system, end_s, elements[system], now_s)

    def figures(self, system: str, end_s: int, expected: Collection[str], now_s: float) -> CycleFigures:
        """Returns the figures of one cycle at this moment."""
        files = list(self.files.get((system, end_s), {}).values())
        stored = {
            sink: [file for file in files if file.topic and self._is_stored(sink, file)] for sink in self.sinks(system)
        }
        set_aside = {file.file_id: list(self.set_aside.get(file.file_id, {}).values()) for file in files}
        cycle = CycleFiles(system, end_s, end_s + self.lateness_s, files, stored, set_aside)
        return figures_of_cycle(cycle, expected, now_s)

    def states(self, system: str, complete_on: Collection[str]) -> Counter[State]:
        """Returns how many files of a system are in each state, in the cycles that are kept."""
        return Counter(
            state_of(
                file,
                stored=self.positions.is_stored_in_all(complete_on, file.topic, file.partition, file.last_offset)
                and not self.positions.lost_by(complete_on, file),
                set_aside=bool(self.set_aside.get(file.file_id)),
            )
            for (name, _), files in self.files.items()
            if name == system
            for file in files.values()
        )

    def _known(self, file_id: str) -> FileStatus | None:
        return self.files[self.cycle_of[file_id]].get(file_id) if file_id in self.cycle_of else None

    def _mark_changed(self, file_ids: Iterable[str]) -> None:
        self.changed.update(self.cycle_of[file_id] for file_id in file_ids if file_id in self.cycle_of)

    def _drop(self, cycle: Cycle) -> None:
        self.changed.discard(cycle)
        for file_id in self.files.pop(cycle):
            self.cycle_of.pop(file_id, None)
            self.set_aside.pop(file_id, None)

    def _is_stored(self, sink: str, file: FileStatus) -> bool:
        at = file.topic, file.partition, file.last_offset
        return self.positions.is_stored(sink, *at) and not self.positions.lost_by([sink], file)
