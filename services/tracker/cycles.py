"""CycleStatistics: keeps the files of recent cycles as numbers, and closes cycles. Pure.

A cycle is one period of one system. A file counts once, by its newest status, however often it was reported. So the
figures are the same after a restart, a replay or a duplicate, and a late file changes those of its own cycle.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple

from services.tracker.cycle_files import (
    IN_EVERY_SINK,
    SINK_BITS,
    STAGE_NUMBERS,
    STAGES,
    CycleFiles,
    Source,
    Sources,
    StateKey,
    TalliedFile,
    tallied,
)
from services.tracker.figures import figures_of_cycle
from services.tracker.rows_by_offset import CycleRow, InSink, RowsByOffset
from services.tracker.states import State, state_of
from shared.cycle_figures import CycleFigures
from shared.kafka.record import TopicPartition
from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, SetAside, SinkPosition
from shared.sink_positions import SinkPositions, is_in
from shared.stages import READ_STAGES, SETTLED_EARLIER
from shared.topics import system_of

Cycle = tuple[str, int]
"""System and end of the period."""


def stage_that_counts(known: TalliedFile | None, told: FileStatus) -> FileStatus | TalliedFile:
    """Returns the newest status, or what is known of the file where that counts more.

    A second announcement says nothing about a file that was read: it keeps its figures and its reason until it is read
    again. A file that is retried becomes `postponed` first, and is then like a new one.
    """
    if known is None or STAGES[known.stage] not in READ_STAGES:
        return told
    if told.stage in {"found", "fetching", "lost"}:
        return known
    if told.reason == SETTLED_EARLIER:
        return known._replace(stage=STAGE_NUMBERS[told.stage], refused=0)
    return told


class BatchesOfFile(NamedTuple):
    """The place of a file's batches, see `FileInTopic`."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    batches: int
    parsed_s: float


@dataclass(frozen=True)
class CycleStatistics:
    """The cycles of all systems; receives the whole ledger, each partition in order.

    Each record changes one file, or those that a position passes. Figures are computed for a cycle that closes or
    changed after that, states are counted as they change; nothing looks at all files, except a gap in a topic, a
    position that went back, or a sink that was added to the configuration.
    """

    sinks: Callable[[str], Sequence[str]]
    """System -> the sinks that store its files; called each time, as it may change while running."""
    lateness_s: float
    """A cycle closes this long after its end; a file announced first after that is late."""
    keep_s: float
    """A cycle that ended longer ago is dropped; its last published figures stay."""
    cycles: dict[Cycle, CycleFiles] = field(default_factory=dict)
    by_number: dict[int, CycleFiles] = field(default_factory=dict)
    sources: Sources = field(default_factory=Sources)
    positions: SinkPositions = field(default_factory=SinkPositions)
    early_parts: dict[int, dict[str, SetAside]] = field(default_factory=lambda: defaultdict(dict))
    """File id -> key in the ledger -> what was set aside of a file that is in no cycle, or not yet."""
    not_stored: RowsByOffset = field(default_factory=RowsByOffset)
    """Files that change when the position of a sink passes them."""
    indexed: dict[str, Sequence[str]] = field(default_factory=dict)
    """System -> the sinks for which its files are in `not_stored`."""
    changed: set[Cycle] = field(default_factory=set)
    """Cycles that changed since they were last closed."""
    numbers: Iterator[int] = field(default_factory=count)

    def on_record(self, record: LedgerRecord, now_s: float) -> None:
        """Takes a record of the ledger. A file whose period is not known belongs to no cycle."""
        match record:
            case SinkPosition() if record.sink in SINK_BITS:
                self._on_position(record)
            case OffsetGap():
                self.positions.record_gap(record)
                for cycle, row in self._rows_in(record):
                    self._mark(cycle, row, record.sink, stored=False)
            case SetAside() if record.at_s > now_s - self.keep_s:
                self._on_set_aside(record)
            case FileStatus() if record.end_s > now_s - self.keep_s:
                self._on_status(record)

    def on_removed(self, key: str) -> None:
        """Takes the removal of a ledger entry: what a sink had set aside was sent again.

        A file that left the ledger still counts in its cycle.
        """
        _, _, rest = key.partition("/")
        file_id = rest.partition("/")[0]
        if len(file_id) > 16 or not file_id.isalnum() or (number := _number(file_id)) is None:
            return
        self.early_parts.get(number, {}).pop(key, None)
        for cycle in self.cycles.values():
            row = cycle.row_of(number)
            if row is not None and cycle.sent_again(row, key):
                self.changed.add((cycle.system, cycle.end_s))

    def files_in(self, gap: OffsetGap) -> list[str]:
        """Returns the ids of the files of all cycles with a batch in the gap."""
        rows = defaultdict(list)
        for cycle, row in self._rows_in(gap):
            rows[cycle.number].append(row)
        return [file_id for number, found in rows.items() for file_id in self.by_number[number].file_ids(found)]

    def closed(self, now_s: float, expected: Callable[[str], Collection[str]]) -> Iterator[CycleFigures]:
        """Yields the figures of cycles that close now, or that changed after they were closed.

        Args:
            now_s: seconds since 1970.
            expected: system -> the elements in its inventory; called only for systems with a cycle to close.
        """
        yield from self.figures_of(self.due(now_s), expected, now_s)

    def due(self, now_s: float) -> list[Cycle]:
        """Returns the cycles that close now or changed after they were closed; they count as unchanged then."""
        self._drop([cycle for cycle in self.cycles if cycle[1] <= now_s - self.keep_s], now_s)
        for system, indexed in list(self.indexed.items()):
            if set(sinks := self.sinks(system)) != set(indexed):
                self._index(system, set(sinks).difference(indexed))
                self.indexed[system] = tuple(sinks)
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
        files = self.cycles.get((system, end_s)) or CycleFiles(system, end_s, -1)
        found = figures_of_cycle(files, self.sources.by_number, self.sinks(system), self.lateness_s, expected)
        return replace(found, told_s=now_s)

    def states(self, system: str, complete_on: Collection[str]) -> Counter[State]:
        """Returns how many files of a system are in each state, in the cycles that are kept."""
        counts, states = Counter[StateKey](), Counter[State]()
        for cycle in self.cycles.values():
            if cycle.system == system:
                counts.update(cycle.counts)
        for key, number in counts.items():
            stored = bool(complete_on) and all(key.sinks & SINK_BITS.get(sink, 0) for sink in complete_on)
            states[state_of(key, stored=stored)] += number
        return states

    def _on_position(self, position: SinkPosition) -> None:
        sink, topic, partition = position.sink, position.topic, position.partition
        before = self.positions.next_offset(sink, topic, partition)
        self.positions.record(position)
        if position.next_offset < before:
            self._went_back(position)
        self._pass(sink, topic, partition, position.next_offset)

    def _pass(self, sink: str, topic: str, partition: int, next_offset: int) -> None:
        for at in self.not_stored.passed(InSink(sink, topic, partition), next_offset):
            if cycle := self.by_number.get(at.cycle):
                batches = self._batches(cycle, at.row)
                is_there = (batches.topic, batches.partition) == (topic, partition)  # else it was parsed once more
                if is_there and batches.last_offset < next_offset and not self.positions.lost_by([sink], batches):
                    self._mark(cycle, at.row, sink, stored=True)

    def _on_set_aside(self, record: SetAside) -> None:
        file_id, system = int(record.file_id, 16), system_of(record.topic)
        for cycle in self.cycles.values():
            if cycle.system == system and (row := cycle.row_of(file_id)) is not None:
                cycle.put_aside(row, record)
                self.changed.add((cycle.system, cycle.end_s))
                return
        self.early_parts[file_id][record.key] = record

    def _on_status(self, status: FileStatus) -> None:
        cycle, file_id = self._cycle(status), int(status.file_id, 16)
        row = cycle.row_of(file_id)
        counts = stage_that_counts(None if row is None else cycle.file(row), status)
        file = counts if isinstance(counts, TalliedFile) else self._tallied(counts)
        if row is None:
            row = cycle.add(file_id, file)
        else:
            cycle.replace(row, file)
        for part in self.early_parts.pop(file_id, {}).values():
            cycle.put_aside(row, part)
        self.changed.add((status.system, status.end_s))
        if isinstance(counts, FileStatus):
            self._wait_for(cycle, row, self.sinks(status.system))

    def _cycle(self, status: FileStatus) -> CycleFiles:
        name = status.system, status.end_s
        if name not in self.cycles:
            number = next(self.numbers)
            self.cycles[name] = self.by_number[number] = CycleFiles(*name, number)
            self.indexed.setdefault(status.system, tuple(self.sinks(status.system)))
        return self.cycles[name]

    def _tallied(self, status: FileStatus) -> TalliedFile:
        source = self.sources.number(Source(status.endpoint, status.element, status.topic, status.partition))
        if status.last_offset < 0:
            return tallied(status, source, IN_EVERY_SINK)
        at = status.topic, status.partition, status.last_offset
        has_it = (s for s in SINK_BITS if self.positions.is_stored(s, *at) and not self.positions.lost_by([s], status))
        return tallied(status, source, sum(SINK_BITS[sink] for sink in has_it))

    def _wait_for(self, cycle: CycleFiles, row: int, sinks: Collection[str]) -> None:
        """Has the file marked when the positions of these sinks pass it, if they have not."""
        sources, stored, last = (cycle.column(name)[row] for name in ("source", "sinks", "last_offset"))
        source = self.sources.by_number[sources]
        for sink in sinks:
            if source.topic and not stored & SINK_BITS.get(sink, 0):
                self.not_stored.add(InSink(sink, source.topic, source.partition), last, CycleRow(cycle.number, row))

    def _mark(self, cycle: CycleFiles, row: int, sink: str, *, stored: bool) -> None:
        bit, file = SINK_BITS.get(sink, 0), cycle.file(row)
        sinks = file.sinks | bit if stored else file.sinks & ~bit
        if sinks != file.sinks:
            cycle.replace(row, file._replace(sinks=sinks))
        self.changed.add((cycle.system, cycle.end_s))

    def _went_back(self, position: SinkPosition) -> None:
        """Takes note that a failover of a sink's database lost what it had stored beyond this position."""
        for cycle, row in self._rows_at(TopicPartition(position.topic, position.partition), position.next_offset):
            self._mark(cycle, row, position.sink, stored=False)
            self._wait_for(cycle, row, [position.sink])

    def _index(self, system: str, sinks: Collection[str]) -> None:
        """Marks the files of a system for sinks that were added to its configuration, now or when they store them."""
        for cycle in [cycle for cycle in self.cycles.values() if cycle.system == system]:
            for row in range(len(cycle)):
                self._wait_for(cycle, row, sinks)
        for key in [key for key in self.not_stored.heaps if key.sink in sinks]:
            self._pass(*key, self.positions.next_offset(*key))

    def _rows_in(self, gap: OffsetGap) -> Iterator[tuple[CycleFiles, int]]:
        for cycle, row in self._rows_at(TopicPartition(gap.topic, gap.partition), gap.first):
            if is_in(gap, self._batches(cycle, row)):
                yield cycle, row

    def _rows_at(self, at: TopicPartition, least_offset: int) -> Iterator[tuple[CycleFiles, int]]:
        """Yields the files that end in a partition at this offset or beyond. Looks at all files."""
        here = {n for n, source in enumerate(self.sources.by_number) if (source.topic, source.partition) == at}
        for cycle in self.cycles.values():
            pairs = zip(cycle.column("source"), cycle.column("last_offset"), strict=True)
            found = [row for row, (source, last) in enumerate(pairs) if last >= least_offset and source in here]
            yield from ((cycle, row) for row in found)

    def _batches(self, cycle: CycleFiles, row: int) -> BatchesOfFile:
        file = cycle.file(row)
        source, parsed_s = self.sources.by_number[file.source], cycle.end_s + file.parsed / 1000
        first = file.last_offset - file.first_offset if file.first_offset >= 0 else -1
        return BatchesOfFile(source.topic, source.partition, first, file.last_offset, file.batches, parsed_s)

    def _drop(self, cycles: Collection[Cycle], now_s: float) -> None:
        if not cycles:
            return
        self.changed.difference_update(cycles)
        dropped = {self.cycles.pop(cycle).number for cycle in cycles}
        for number in dropped:
            del self.by_number[number]
        self.not_stored.drop(dropped)
        for file_id, parts in list(self.early_parts.items()):
            if not parts or max(part.at_s for part in parts.values()) <= now_s - self.keep_s:
                del self.early_parts[file_id]


def _number(file_id: str) -> int | None:
    try:
        return int(file_id, 16)
    except ValueError:
        return None
