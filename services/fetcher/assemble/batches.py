"""A PM file's bytes as the messages of the counters topic: whole or not at all, and every value accounted for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import orjson

from services.fetcher import reasons
from services.fetcher.assemble import quarantined
from services.fetcher.assemble.merge import merged
from services.fetcher.assemble.result import Batch, Counts, Origin, Parsed, Quarantined
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import Block, Fault, Head
from services.fetcher.parse.blocks import blocks
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.unpack import Member, UnpackLimits, documents
from services.fetcher.parse.values.naming import group_of
from services.fetcher.parse.values.period import period_of
from services.fetcher.preprocess.declared import UNDECLARED, DeclaredTypes, contradicted, marks
from services.fetcher.preprocess.steps import Aside, MeasInfoRows, Preprocessing, preprocessed
from services.fetcher.rows.held import Columns, Key, Rows, Table, packed
from services.fetcher.rows.spool import Spool, Text
from shared.messages import CounterBatch

MAX_BYTES = 900_000
"""Of a message: below what the topics take (shared.topics), with room for the record around it."""

MISTYPED = "not what the dictionary declared, stored as it is"

RAW = Preprocessing()
"""Values and names as the file has them."""


def read_file(  # noqa: PLR0913 - all but two have a default
    data: bytes | Iterable[bytes],
    origin: Origin,
    *,
    limits: UnpackLimits | None = None,
    profiles: Sequence[Profile] | None = None,
    wanted: Preprocessing = RAW,
    spool: Spool | None = None,
) -> Parsed:
    """Read a PM file as it lies on an element: any dialect, plain or packed; preprocessed as is wanted.

    Raises:
        BadFile: it cannot be read, or holds no value; says why and where.
        Incomplete: a packed file that ends too early; it may still be written.
        Unreachable: its messages are too many for the spool's memory, and cannot go to disk.
    """
    members = documents(data, limits or UnpackLimits())
    read = partial(_blocks, profiles=profiles, file_name=origin.file_name)
    return gather(chain.from_iterable(map(read, members)), origin, wanted=wanted, spool=spool)


def _blocks(member: Member, profiles: Sequence[Profile] | None, file_name: str) -> Iterator[Block]:
    try:
        name = member.name.rpartition("/")[2] or file_name
        yield from blocks(member.chunks, profiles=profiles, file_name=name)
    except BadFile as error:
        raise error.within(member.name) from error


def gather(
    of_file: Iterable[Block],
    origin: Origin,
    *,
    max_bytes: int = MAX_BYTES,
    wanted: Preprocessing = RAW,
    spool: Spool | None = None,
) -> Parsed:
    """All blocks of a file, as its messages.

    Raises:
        BadFile: there is no value.
        Unreachable: as in `read_file`.
    """
    spool = spool or Spool()
    file = _File(origin, max_bytes, replace(wanted, aliases=origin.aliases), spool)
    try:
        for block in of_file:
            file.add(block)
        return file.parsed()
    except BaseException:
        spool.close()
        raise


@dataclass(slots=True)
class _MeasInfo:
    """The measInfo being read: kept or set aside as a whole, which is known at its end."""

    head: Head
    rows: list[Rows] = field(default_factory=list)
    faults: list[Rows] = field(default_factory=list)
    fault: Fault | None = None
    """The first."""
    marks: frozenset[str] = frozenset()
    """See `declared.marks`."""

    @property
    def reason(self) -> str:
        """Why it cannot be stored; nothing if it can."""
        if self.fault:
            return self.fault.reason
        return reasons.NAMELESS if "" in self.head.counters else ""


class _File:
    """What is known of a file while it is read."""

    def __init__(self, origin: Origin, max_bytes: int, wanted: Preprocessing, spool: Spool) -> None:
        self.origin = origin
        self.max_bytes = max_bytes
        self.wanted = wanted
        self.spool = spool
        self.open: _MeasInfo | None = None
        self.tables: dict[Key, Table] = {}
        self.columns: dict[Columns, Columns] = {}
        self.quarantined: list[Quarantined] = []
        self.found = 0
        self.nulls = 0
        self.suspect = 0
        self.dropped: Counter[str] = Counter()
        self.notes: dict[str, None] = {}
        self.declared = DeclaredTypes()

    def add(self, block: Block) -> None:
        if self.open is None or self.open.head is not block.head:
            self._end()
            self.open = _MeasInfo(block.head)
        info = self.open
        values = len(block.lines) * len(block.head.counters) - block.nulls
        if block.head.counters and block.lines:
            rows = Rows.of(block.objects, block.lines, values, self.spool)
            info.rows.append(rows)
            if self.wanted.dictionary:
                info.marks |= marks(block.objects, rows)
        in_faults = sum(map(quarantined.values_of, block.faults))
        if block.faults:
            info.fault = info.fault or block.faults[0]
            info.faults.append(Rows.of((), [*map(quarantined.fault, block.faults)], in_faults, self.spool))
        self.nulls += block.nulls
        self.suspect += block.suspect
        self.dropped.update(block.dropped)
        self.found += values + in_faults + sum(block.dropped.values())
        if block.note:
            self.notes[block.note] = None

    def parsed(self) -> Parsed:
        self._end()
        if not self.found:
            raise BadFile("no values")
        batches: list[Batch] = []
        while self.tables:  # each is let go when its messages are there
            key = next(iter(self.tables))
            table = self.tables.pop(key)
            batches += self._batches(key, table)
            self._let_go(rows for _, rows in table.parts)
        counts = self._counts(batches)
        lost = self.found - counts.values - counts.quarantined - counts.dropped
        assert not lost, f"{lost} values lost"
        if counts.mistyped:
            self.notes[f"{MISTYPED}: {sum(counts.mistyped.values())}"] = None
        return Parsed(batches, counts, self.quarantined, list(self.notes), self.spool.file)

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
            reason, why = reason or reasons.BAD_PERIOD, str(error)
        if reason:
            self._set_aside(info, element, group, reason, why)
            return
        said = self._preprocessed(info, element, group)
        key = Key(said.element, group, period.gp_s, period.end_s)
        if said.aside:
            self._set_values_aside(key, reasons.NOT_CONVERTIBLE, map(quarantined.value, said.aside))
        table = self.tables.setdefault(key, Table(period.end_offset_min))
        columns = Columns.of(head.job, said.counters)
        columns = self.columns.setdefault(columns, columns)
        table.parts.extend((columns, rows) for rows in said.rows)

    def _preprocessed(self, info: _MeasInfo, element: str, group: str) -> MeasInfoRows:
        """By the steps and the dictionary of its system; part by part, so that no more than one is in memory."""
        counters, known = info.head.counters, self.wanted.dictionary
        declared = known.declared(group, counters) if known else (UNDECLARED,) * len(counters)
        said = MeasInfoRows(element, counters, declared, [])
        kept: list[Rows] = []
        not_converted: list[Aside] = []
        for rows in info.rows:
            said = preprocessed(MeasInfoRows(element, counters, declared, [rows]), self.wanted)
            self.found -= said.nulled
            self.nulls += said.nulled
            kept += [self._kept(now, rows) for now in said.rows]
            not_converted += said.aside
        if known:
            suspects = kept if contradicted(said.declared, info.marks) else ()
            self.declared.add(group, said.counters, said.declared, suspects)
        return replace(said, rows=kept, aside=tuple(not_converted))

    def _kept(self, rows: Rows, before: Rows) -> Rows:
        """Put aside instead of those they were before."""
        if rows.held is before.held:
            return rows
        self.spool.let_go(before.held)
        return replace(rows, held=self.spool.put(rows.text))

    def _set_aside(self, info: _MeasInfo, element: str, group: str, reason: str, why: str) -> None:
        results = len(info.fault.results) if info.fault else len(info.head.counters)
        about = quarantined.measinfo(info.head, element, group, results, why)
        self._quarantine(reason, group, about, "faults", info.faults)
        self._quarantine(reason, group, about, "rows", info.rows)
        self._let_go(chain(info.faults, info.rows))

    def _set_values_aside(self, key: Key, reason: str, values: Iterable[str]) -> None:
        """Values of rows that are stored without them."""
        about = {"element": key.element, "group": key.group, "gp_s": key.gp_s, "end_s": key.end_s}
        items = [Rows.of((), [value], 1, self.spool) for value in values]
        self._quarantine(reason, key.group, about, "values", items)
        self._let_go(items)

    def _quarantine(self, reason: str, group: str, about: dict[str, Any], name: str, items: list[Rows]) -> None:
        known = {"system": self.origin.system, "file_id": self.origin.file_id, "ver": self.origin.ver, "reason": reason}
        start = orjson.dumps(known | about)[:-1] + b',"' + name.encode() + b'":['
        self.quarantined += [Quarantined(reason, group, rows.values, held) for held, rows in self._packed(items, start)]

    def _packed(self, parts: Iterable[Rows], start: bytes) -> Iterator[tuple[Text, Rows]]:
        """Messages that begin so, with the rows each holds."""
        try:
            for rows in packed(parts, self.max_bytes - len(start) - len(b"]}")):
                yield self.spool.put(start + rows.text + b"]}"), rows
        except ValueError as error:
            raise BadFile(str(error)) from error

    def _let_go(self, parts: Iterable[Rows]) -> None:
        for rows in parts:
            self.spool.let_go(rows.held)

    def _batches(self, key: Key, table: Table) -> Iterator[Batch]:
        if not table.is_contested():
            yield from self._batches_of(key, table, table.parts)
            return
        for result in merged(table.parts):
            self.dropped[reasons.DUPLICATE_VALUE] += result.duplicates
            self._set_values_aside(key, reasons.CONFLICTING_DUPLICATE, map(quarantined.conflict, result.conflicts))
            yield from self._batches_of(key, table, result.parts)

    def _batches_of(self, key: Key, table: Table, parts: list[tuple[Columns, Rows]]) -> Iterator[Batch]:
        alike: dict[Columns, list[Rows]] = {}
        for columns, rows in parts:
            alike.setdefault(columns, []).append(rows)
        for columns, several in alike.items():
            start = self._start(key, table.end_offset_min, columns)
            for held, rows in self._packed(several, start):
                yield Batch(held, key.group, key.end_s, rows.height, rows.values)

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
        promised = self.declared.of(key.group, columns.counters)
        start = orjson.dumps(header | promised | {"rows": []})
        if promised and len(start) > self.max_bytes // 2:  # rows need room
            start = orjson.dumps(header | {"rows": []})
        return start[: -len(b"]}")]

    def _counts(self, batches: list[Batch]) -> Counts:
        by_reason = Counter({reason: values for reason, values in self.dropped.items() if values})
        dropped = by_reason.total()
        for block in self.quarantined:
            by_reason[block.reason] += block.values
        return Counts(
            groups=len({batch.group for batch in batches}),
            rows=sum(batch.rows for batch in batches),
            suspect=self.suspect,
            values=sum(batch.values for batch in batches),
            nulls=self.nulls,
            quarantined=sum(block.values for block in self.quarantined),
            dropped=dropped,
            reasons=dict(by_reason),
            mistyped=dict(self.declared.mistyped),
        )
