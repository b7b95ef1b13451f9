"""A PM file's bytes as the messages of the counters topic: whole or not at all, and every value accounted for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import orjson

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import Block, Fault, Head
from services.fetcher.parse.blocks import blocks
from services.fetcher.parse.cells import CELLS, NULL
from services.fetcher.parse.merge import Conflict, merged
from services.fetcher.parse.naming import group_of
from services.fetcher.parse.period import period_of
from services.fetcher.parse.profile import Profile
from services.fetcher.parse.table import Columns, Key, Rows, Table, packed
from services.fetcher.parse.unpack import Limits, Member, documents
from services.fetcher.preprocessing import Aside, Preprocessing, Said, preprocessed
from services.fetcher.promises import NOTHING, Kept, contradicted, marks
from shared.messages import CounterBatch

MAX_BYTES = 900_000
"""Of a message: below what the topics take (shared.topics), with room for the record around it."""

DUPLICATE_VALUE = "duplicate value"
CONFLICTING_DUPLICATE = "conflicting duplicate"
BAD_PERIOD = "bad period"
NAMELESS = "counter without a name"
NOT_CONVERTIBLE = "not to be converted to its unit"
MISTYPED = "not what the dictionary promises, stored as it is"


RAW = Preprocessing()
"""Values and names as the file has them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file comes from, as far as its messages tell."""

    system: str
    file_id: str
    element: str
    """By the file's name or the inventory: for files that do not tell."""
    ver: int
    zone_offset_min: int = 0
    """The element's zone: for times that name none."""
    file_name: str = ""
    """Tells the measurement group of some vendors' tables."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Of the element: other name -> its name in the inventory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of the counters topic."""

    value: bytes
    """A CounterBatch, encoded."""
    group: str
    end_s: int
    """End of the granularity period."""
    rows: int
    values: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something of the file that cannot be stored, set aside as it is."""

    reason: str
    group: str
    values: int
    detail: bytes
    """JSON, at most as long as a message: which block, what counts do not fit, its rows."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the values (cells that are not empty): stored, quarantined or dropped, nothing else."""

    groups: int
    rows: int
    suspect: int
    """Rows flagged so, as the file has them."""
    values: int
    """Stored."""
    nulls: int
    """Cells without a value."""
    quarantined: int
    dropped: int
    reasons: dict[str, int]
    """Values quarantined or dropped, by reason."""
    mistyped: dict[str, int] = field(default_factory=dict)
    """Counter -> values that are stored though the dictionary promised another type."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole file."""

    batches: list[Batch]
    counts: Counts
    quarantined: list[Quarantined]
    notes: list[str] = field(default_factory=list)
    """On how it was read: what a person should know."""


def read_file(  # noqa: PLR0913 - all but two have a default
    data: bytes | Iterable[bytes],
    origin: Origin,
    *,
    limits: Limits | None = None,
    max_bytes: int = MAX_BYTES,
    profiles: Sequence[Profile] | None = None,
    wanted: Preprocessing = RAW,
) -> Parsed:
    """Read a PM file as it lies on an element: any dialect, plain or packed; preprocessed as is wanted.

    Raises:
        BadFile: it cannot be read, or holds no value; says why and where.
        Incomplete: a packed file that ends too early; it may still be written.
    """
    members = documents(data, limits or Limits())
    read = partial(_blocks, profiles=profiles, file_name=origin.file_name)
    return gather(chain.from_iterable(map(read, members)), origin, max_bytes, wanted)


def _blocks(member: Member, profiles: Sequence[Profile] | None, file_name: str) -> Iterator[Block]:
    try:
        name = member.name.rpartition("/")[2] or file_name
        yield from blocks(member.chunks, profiles=profiles, file_name=name)
    except BadFile as error:
        raise error.within(member.name) from error


def gather(of_file: Iterable[Block], origin: Origin, max_bytes: int = MAX_BYTES, wanted: Preprocessing = RAW) -> Parsed:
    """All blocks of a file, as its messages.

    Raises:
        BadFile: there is no value.
    """
    file = _File(origin, max_bytes, replace(wanted, aliases=origin.aliases))
    for block in of_file:
        file.add(block)
    return file.parsed()


@dataclass(slots=True)
class _MeasInfo:
    """The measInfo being read: kept or set aside as a whole, which is known at its end."""

    head: Head
    rows: list[Rows] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    marks: frozenset[str] = frozenset()
    """See `promises.marks`."""

    @property
    def reason(self) -> str:
        """Why it cannot be stored; nothing if it can."""
        if self.faults:
            return self.faults[0].reason
        return NAMELESS if "" in self.head.counters else ""


class _File:
    """What is known of a file while it is read."""

    def __init__(self, origin: Origin, max_bytes: int, wanted: Preprocessing) -> None:
        self.origin = origin
        self.max_bytes = max_bytes
        self.wanted = wanted
        self.open: _MeasInfo | None = None
        self.tables: dict[Key, Table] = {}
        self.columns: dict[Columns, Columns] = {}
        self.quarantined: list[Quarantined] = []
        self.found = 0
        self.nulls = 0
        self.suspect = 0
        self.dropped: Counter[str] = Counter()
        self.notes: dict[str, None] = {}
        self.promises = Kept()

    def add(self, block: Block) -> None:
        if self.open is None or self.open.head is not block.head:
            self._end()
            self.open = _MeasInfo(block.head)
        info = self.open
        values = len(block.lines) * len(block.head.counters) - block.nulls
        if block.head.counters and block.lines:
            rows = Rows.of(block.objects, block.lines, values)
            info.rows.append(rows)
            if self.wanted.dictionary:
                info.marks |= marks(block.objects, rows)
        info.faults += block.faults
        self.nulls += block.nulls
        self.suspect += sum(line[len(name) + 2] == "1" for name, line in zip(block.objects, block.lines, strict=True))
        self.dropped.update(block.dropped)
        self.found += values + sum(map(_values, block.faults)) + sum(block.dropped.values())
        if block.note:
            self.notes[block.note] = None

    def parsed(self) -> Parsed:
        self._end()
        if not self.found:
            raise BadFile("no values")
        batches: list[Batch] = []
        while self.tables:  # each is let go when its messages are there
            key = next(iter(self.tables))
            batches += self._batches(key, self.tables.pop(key))
        counts = self._counts(batches)
        lost = self.found - counts.values - counts.quarantined - counts.dropped
        assert not lost, f"{lost} values lost"
        if counts.mistyped:
            self.notes[f"{MISTYPED}: {sum(counts.mistyped.values())}"] = None
        return Parsed(batches, counts, self.quarantined, list(self.notes))

    def _end(self) -> None:
        """The measInfo has ended."""
        info, self.open = self.open, None
        if info is None or not (info.rows or info.faults):
            return
        head = info.head
        element = head.element or self.origin.element
        group = group_of(head.group, head.first_object, element)
        reason, why = info.reason, ""
        try:
            period = period_of(head.begin, head.end, head.duration, self.origin.zone_offset_min)
        except ValueError as error:
            reason, why = reason or BAD_PERIOD, str(error)
        if reason:
            self._set_aside(info, element, group, reason, why)
            return
        said = self._preprocessed(info, element, group)
        key = Key(said.element, group, period.gp_s, period.end_s)
        if said.aside:
            self._set_values_aside(key, NOT_CONVERTIBLE, map(_aside, said.aside))
        table = self.tables.setdefault(key, Table(period.end_offset_min))
        columns = Columns.of(head.job, said.counters)
        columns = self.columns.setdefault(columns, columns)
        table.parts.extend((columns, rows) for rows in said.rows)

    def _preprocessed(self, info: _MeasInfo, element: str, group: str) -> Said:
        """By the steps and the dictionary of its system."""
        counters, known = info.head.counters, self.wanted.dictionary
        promises = known.promises(group, counters) if known else (NOTHING,) * len(counters)
        said = preprocessed(Said(element, counters, promises, info.rows), self.wanted)
        self.found -= said.nulled
        self.nulls += said.nulled
        if known:
            suspects = said.rows if contradicted(said.promises, info.marks) else ()
            self.promises.add(group, said.counters, said.promises, suspects)
        return said

    def _set_aside(self, info: _MeasInfo, element: str, group: str, reason: str, why: str) -> None:
        head = info.head
        results = [len(fault.results) for fault in info.faults[:1]]
        header = {
            "element": element,
            "group": group,
            "job": head.job,
            "begin": head.begin,
            "end": head.end,
            "duration": head.duration,
            "why": why,
            "types": len(head.counters),
            "results": results[0] if results else len(head.counters),
            "counters": head.counters,
        }
        faults = [Rows.of((), [_fault(fault)], _values(fault)) for fault in info.faults]
        self._quarantine(reason, group, header, "faults", faults)
        self._quarantine(reason, group, header, "rows", info.rows)

    def _quarantine(self, reason: str, group: str, header: dict[str, Any], name: str, items: list[Rows]) -> None:
        known = {"system": self.origin.system, "file_id": self.origin.file_id, "ver": self.origin.ver, "reason": reason}
        start = orjson.dumps(known | header)[:-1] + b',"' + name.encode() + b'":['
        self.quarantined += [
            Quarantined(reason, group, rows.values, start + rows.text + b"]}") for rows in self._packed(items, start)
        ]

    def _packed(self, rows: Iterable[Rows], start: bytes) -> Iterator[Rows]:
        try:
            yield from packed(rows, self.max_bytes - len(start) - len(b"]}"))
        except ValueError as error:
            raise BadFile(str(error)) from error

    def _batches(self, key: Key, table: Table) -> Iterator[Batch]:
        parts = table.parts
        if table.is_contested():
            result = merged(parts)
            parts = result.parts
            self.dropped[DUPLICATE_VALUE] += result.duplicates
            self._set_values_aside(key, CONFLICTING_DUPLICATE, map(_conflict, result.conflicts))
        alike: dict[Columns, list[Rows]] = {}
        for columns, rows in parts:
            alike.setdefault(columns, []).append(rows)
        for columns, several in alike.items():
            start = self._start(key, table.end_offset_min, columns)
            for rows in self._packed(several, start):
                yield Batch(start + rows.text + b"]}", key.group, key.end_s, rows.height, rows.values)

    def _start(self, key: Key, end_offset_min: int, columns: Columns) -> bytes:
        """A CounterBatch up to its rows, which are JSON already."""
        header = {
            "kind": CounterBatch.kind,
            "system": self.origin.system,
            "file_id": self.origin.file_id,
            "element": key.element,
            "group": key.group,
            "job": columns.job,
            "gp_s": key.gp_s,
            "end_s": key.end_s,
            "end_offset_min": end_offset_min,
            "ver": self.origin.ver,
            "counters": columns.counters,
        }
        promised = self.promises.of(key.group, columns.counters)
        start = orjson.dumps(header | promised | {"rows": []})
        if promised and len(start) > self.max_bytes // 2:  # rows need room
            start = orjson.dumps(header | {"rows": []})
        return start[: -len(b"]}")]

    def _set_values_aside(self, key: Key, reason: str, values: Iterable[str]) -> None:
        """Values of rows that are stored without them."""
        header = {"element": key.element, "group": key.group, "gp_s": key.gp_s, "end_s": key.end_s}
        self._quarantine(reason, key.group, header, "values", [Rows.of((), [value], 1) for value in values])

    def _counts(self, batches: list[Batch]) -> Counts:
        reasons = Counter({reason: values for reason, values in self.dropped.items() if values})
        dropped = reasons.total()
        for aside in self.quarantined:
            reasons[aside.reason] += aside.values
        return Counts(
            groups=len({batch.group for batch in batches}),
            rows=sum(batch.rows for batch in batches),
            suspect=self.suspect,
            values=sum(batch.values for batch in batches),
            nulls=self.nulls,
            quarantined=sum(aside.values for aside in self.quarantined),
            dropped=dropped,
            reasons=dict(reasons),
            mistyped=dict(self.promises.mistyped),
        )


def _values(fault: Fault) -> int:
    return sum(CELLS[text] != NULL for text in fault.results)


def _fault(fault: Fault) -> str:
    row = {"object": fault.object, "suspect": fault.suspect, "results": fault.results, "p": fault.positions}
    return orjson.dumps(row).decode()


def _conflict(conflict: Conflict) -> str:
    counter = orjson.dumps(conflict.counter)
    return _json(object=conflict.object, counter=counter, kept=conflict.kept, aside=conflict.aside)


def _aside(aside: Aside) -> str:
    counter, unit, wanted = map(orjson.dumps, (aside.counter, aside.unit, aside.wanted))
    return _json(object=aside.object, counter=counter, value=aside.value, unit=unit, wanted=wanted)


def _json(**parts: bytes) -> str:
    """The parts are JSON already."""
    return "{" + ",".join(f'"{name}":{part.decode()}' for name, part in parts.items()) + "}"
