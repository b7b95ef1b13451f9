"""CycleFiles: what the figures of a cycle need of its files, in about 70 bytes a file. Pure."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, get_args

from services.tracker.columns import Column
from shared.messages import FileStatus, SetAside, Stage
from shared.settings import SinkName

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
STAGE_NUMBERS: Final = {stage: number for number, stage in enumerate(STAGES)}
SINK_BITS: Final[dict[str, int]] = {sink: 1 << number for number, sink in enumerate(get_args(SinkName))}
IN_EVERY_SINK: Final = -1
"""Sinks that have stored a file without batches: all, by the rule of `SinkPositions`."""
NEVER: Final = -(2**31)
"""The time of a stage that a file has not reached."""
LARGEST_COUNT: Final = 2**63 - 1


class Source(NamedTuple):
    """The element of files and the partition of their batches; an element has few of these, so each is kept once."""

    endpoint: str
    element: str
    topic: str
    """Empty: the batches of the file are not in a topic."""
    partition: int


class TalliedFile(NamedTuple):
    """One file as numbers. Times are milliseconds from the end of the period, or NEVER."""

    source: int
    """Number of the source, see `Sources`."""
    stage: int
    """Index in STAGES."""
    refused: int
    """1 if it could not be moved at the last attempt."""
    sinks: int
    """Bits of the sinks that have stored it."""
    size: int
    mtime_s: int
    """Seconds from the end of the period."""
    found: int
    fetched: int
    parsed: int
    stored: int
    batches: int
    rows: int
    suspect: int
    values: int
    quarantined: int
    dropped: int
    retries: int
    first_offset: int
    """Difference to the last offset; -1: unknown."""
    last_offset: int


class StateKey(NamedTuple):
    """The facts about a file from which its state follows."""

    stage: Stage
    refused: bool
    sinks: int
    """Bits of the sinks that have stored it."""
    flawed: bool
    """True if the parser or a sink set some of its values aside."""


class Sources:
    """All sources, by number."""

    def __init__(self) -> None:
        self.numbers: dict[Source, int] = {}
        self.by_number: list[Source] = []

    def number(self, source: Source) -> int:
        """Returns the number of a source, a new one if it was never seen."""
        found = self.numbers.setdefault(source, len(self.by_number))
        if found == len(self.by_number):
            self.by_number.append(source)
        return found


def tallied(status: FileStatus, source: int, sinks: int) -> TalliedFile:
    """Returns a file as numbers."""
    end_s = status.end_s
    return TalliedFile(
        source, STAGE_NUMBERS[status.stage], int(status.moves_refused > 0), sinks, status.size, status.mtime_s - end_s,
        _after(status.found_s, end_s), _after(status.fetched_s, end_s), _after(status.parsed_s, end_s),
        _after(status.stored_s, end_s), status.batches, status.rows, status.suspect, status.values,
        status.quarantined, status.dropped, min(status.attempt + status.tries - 2, LARGEST_COUNT),
        max(status.last_offset - status.first_offset, 0) if status.first_offset >= 0 else -1, status.last_offset,
    )  # fmt: skip


def _after(at_s: float, end_s: int) -> int:
    return round((at_s - end_s) * 1000) if at_s else NEVER


@dataclass(slots=True)
class CycleFiles:
    """The files of one cycle, and how many are in each state. A file is found by its id, then has a row for good."""

    system: str
    end_s: int
    number: int
    """Distinguishes it from all other cycles, for those that keep many references to rows."""
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    """The ids in ascending order."""
    row_numbers: "array[int]" = field(default_factory=lambda: array("I"))
    """Row of each of `ids`."""
    columns: list[Column] = field(default_factory=lambda: [Column() for _ in TalliedFile._fields])
    """The columns of `TalliedFile`."""
    set_aside: dict[int, dict[str, tuple[str, int]]] = field(default_factory=dict)
    """Row -> key in the ledger -> the sink that set a part aside, and the number of values in it."""
    counts: Counter[StateKey] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> "array[int]":
        """Returns a column of `TalliedFile` by its name, in order of rows."""
        return self.columns[TalliedFile._fields.index(name)].numbers

    def row_of(self, file_id: int) -> int | None:
        """Returns the row of a file; None if it is not in this cycle."""
        at = bisect_left(self.ids, file_id)
        return self.row_numbers[at] if at < len(self.ids) and self.ids[at] == file_id else None

    def file(self, row: int) -> TalliedFile:
        return TalliedFile(*(column.numbers[row] for column in self.columns))

    def add(self, file_id: int, file: TalliedFile) -> int:
        """Adds a file that is not in the cycle yet; returns its row."""
        at, row = bisect_left(self.ids, file_id), len(self.ids)
        self.ids.insert(at, file_id)
        self.row_numbers.insert(at, row)
        for column, number in zip(self.columns, file, strict=True):
            column.append(number)
        self.counts[self._state(row, file)] += 1
        return row

    def replace(self, row: int, file: TalliedFile) -> None:
        """Replaces what is known of a file."""
        before = self.file(row)
        self._uncount(row, before)
        for column, old, new in zip(self.columns, before, file, strict=True):
            if old != new:
                column.set(row, new)
        self.counts[self._state(row, file)] += 1

    def put_aside(self, row: int, record: SetAside) -> None:
        """Takes what a sink set aside of a file; the same part may come again."""
        self._change_aside(row, record.key, (record.sink, record.values))

    def sent_again(self, row: int, key: str) -> bool:
        """Takes note that a part was sent again; returns False if it was not known to be set aside."""
        if key not in self.set_aside.get(row, {}):
            return False
        self._change_aside(row, key, None)
        return True

    def _change_aside(self, row: int, key: str, part: tuple[str, int] | None) -> None:
        file = self.file(row)
        self._uncount(row, file)
        parts = {name: known for name, known in self.set_aside.pop(row, {}).items() if name != key}
        if part:
            parts[key] = part
        if parts:
            self.set_aside[row] = parts
        self.counts[self._state(row, file)] += 1

    def file_ids(self, rows: Collection[int]) -> Iterator[str]:
        """Yields the ids of the files in these rows. Looks at all rows."""
        wanted = frozenset(rows)
        return (f"{self.ids[at]:016x}" for at, row in enumerate(self.row_numbers) if row in wanted)

    def _state(self, row: int, file: TalliedFile) -> StateKey:
        flawed = file.quarantined > 0 or row in self.set_aside
        return StateKey(STAGES[file.stage], bool(file.refused), file.sinks, flawed)

    def _uncount(self, row: int, file: TalliedFile) -> None:
        key = self._state(row, file)
        self.counts[key] -= 1
        if not self.counts[key]:
            del self.counts[key]
