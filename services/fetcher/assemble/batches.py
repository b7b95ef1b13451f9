"""Turns the bytes of a PM file into messages of the counters topic: completely or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from services.fetcher import reasons
from services.fetcher.assemble.collected import CollectedMeasInfo
from services.fetcher.assemble.nameless import NamelessValue, split_nameless
from services.fetcher.assemble.packer import Packer
from services.fetcher.assemble.quarantine import FileQuarantine, fault_json, values_of
from services.fetcher.assemble.result import FileFacts, Origin, Parsed
from services.fetcher.assemble.tables import PeriodTables
from services.fetcher.assemble.tally import ConservationError, Tally
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.blocks import read_blocks
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.unpack import Member, UnpackLimits, unpacked_members
from services.fetcher.parse.values.naming import derived_group
from services.fetcher.parse.values.period import period_of
from services.fetcher.preprocess.declared import UNDECLARED, DeclaredTypes, contradicted, types_found
from services.fetcher.preprocess.steps import MeasInfoRows, Preprocessing, UnconvertedValue, preprocessed
from services.fetcher.rows.held import CounterColumns, PeriodKey, Rows
from services.fetcher.rows.line import BrokenRow
from services.fetcher.rows.spool import Spool

MAX_BYTES = 900_000
"""Limit of a message: below the limit of the topics (shared.topics), so that there is room for the record around it."""

MISTYPED_NOTE = "not of the type that the dictionary declares, stored unchanged"

NO_VALUES_NOTE = "no values"

RAW = Preprocessing()
"""Leaves values and names as the file has them."""


def read_file(  # noqa: PLR0913 - all but two have a default
    data: bytes | Iterable[bytes],
    origin: Origin,
    *,
    limits: UnpackLimits | None = None,
    profiles: Sequence[Profile] | None = None,
    preprocessing: Preprocessing = RAW,
    spool: Spool | None = None,
) -> Parsed:
    """Reads and preprocesses a PM file of any dialect, plain or packed, as it lies on an element.

    Raises:
        BadFile: the file cannot be read; says why and where.
        Incomplete: a packed file ends too early; it may still be being written.
        Unreachable: the messages do not fit into the spool's memory and cannot be written to disk.
    """
    notes: list[str] = []
    members = unpacked_members(data, limits or UnpackLimits(), notes)
    read = partial(_member_blocks, profiles=profiles, file_name=origin.file_name)
    blocks = chain(chain.from_iterable(map(read, members)), _noted(notes))
    return gather(blocks, origin, preprocessing=preprocessing, spool=spool)


def _noted(notes: Iterable[str]) -> Iterator[MeasInfoBlock]:
    for note in notes:
        yield MeasInfoBlock(MeasInfoHead(), [], [], 0, note=note)


def _member_blocks(member: Member, profiles: Sequence[Profile] | None, file_name: str) -> Iterator[MeasInfoBlock]:
    try:
        name = member.name.rpartition("/")[2] or file_name
        yield from read_blocks(member.chunks, profiles=profiles, file_name=name)
    except BadFile as error:
        raise error.within(member.name) from error


def gather(
    blocks: Iterable[MeasInfoBlock],
    origin: Origin,
    *,
    max_bytes: int = MAX_BYTES,
    preprocessing: Preprocessing = RAW,
    spool: Spool | None = None,
) -> Parsed:
    """Assembles all blocks of a file into its messages.

    Raises:
        BadFile: a row does not fit into a message.
        Unreachable: see `read_file`.
        ConservationError: a value was lost, which is a defect.
    """
    spool = spool or Spool()
    assembler = _Assembler(origin, replace(preprocessing, aliases=origin.aliases), Packer(spool, max_bytes))
    try:
        for block in blocks:
            assembler.add(block)
        return assembler.parsed()
    except BrokenRow as error:
        spool.close()
        raise ConservationError(origin, str(error)) from error
    except BaseException:
        spool.close()
        raise


class _Assembler:
    """Assembles one file, measInfo by measInfo."""

    def __init__(self, origin: Origin, preprocessing: Preprocessing, packer: Packer) -> None:
        self.origin = origin
        self.preprocessing = preprocessing
        self.packer = packer
        self.tally = Tally()
        self.quarantine = FileQuarantine(origin, packer)
        self.tables = PeriodTables(origin, packer, self.quarantine, self.tally)
        self.declared = DeclaredTypes()
        self.facts = FileFacts()
        self.notes: dict[str, None] = {}
        self.open: CollectedMeasInfo | None = None
        self.first_bad_period: str | None = None

    def add(self, block: MeasInfoBlock) -> None:
        """Takes the next block of the file."""
        if self.open is None or self.open.head is not block.head:
            self._end_measinfo()
            self.open = CollectedMeasInfo(block.head)
        info, spool = self.open, self.packer.spool
        values = len(block.lines) * len(block.head.counters) - block.nulls
        if block.head.counters and block.lines:
            rows = Rows.from_lines(block.objects, block.lines, values, spool)
            info.rows.append(rows)
            if self.preprocessing.dictionary:
                info.types_found |= types_found(block.objects, rows)
        faulty_values = sum(map(values_of, block.faults))
        if block.faults:
            info.first_fault = info.first_fault or block.faults[0]
            info.faults.append(Rows.from_lines((), [*map(fault_json, block.faults)], faulty_values, spool))
        self.tally.nulls += block.nulls
        self.tally.suspect += block.suspect
        self.tally.dropped.update(block.dropped)
        self.tally.found += values + faulty_values + sum(block.dropped.values())
        if block.note:
            self.notes[block.note] = None

    def parsed(self) -> Parsed:
        """Returns the result when all blocks were added."""
        self._end_measinfo()
        if not self.tally.found:
            self.notes[NO_VALUES_NOTE] = None
        batches = list(self.tables.batches(self.declared))
        if self.first_bad_period is not None:
            self.notes[f"{reasons.BAD_PERIOD}: {self.first_bad_period}"] = None
        counts = self.tally.counts(self.origin, batches, self.quarantine.blocks, self.declared.mistyped)
        if counts.mistyped:
            self.notes[f"{MISTYPED_NOTE}: {sum(counts.mistyped.values())}"] = None
        return Parsed(batches, counts, self.quarantine.blocks, self.facts, list(self.notes), self.packer.spool.file)

    def _end_measinfo(self) -> None:
        """Stores or quarantines the measInfo that was read last."""
        info, self.open = self.open, None
        if info is None or not (info.rows or info.faults):
            return
        head = info.head
        element = head.element or self.origin.element
        group = derived_group(head.group, head.first_object, element)
        try:
            period = period_of(head.begin, head.end, head.duration, self.origin.zone)
        except ValueError as error:
            why = f"{error}: line {head.line}" if head.line else str(error)
            self.quarantine.add_measinfo(info, element, group, info.reason or reasons.BAD_PERIOD, why)
            if self.first_bad_period is None:
                self.first_bad_period = why
            return
        if info.reason:
            self.quarantine.add_measinfo(info, element, group, info.reason, "")
            return
        nameless = self._split_nameless(info) if "" in head.counters else []
        measinfo = self._preprocessed(info, element, group)
        if self.preprocessing.prefix_endpoint:
            measinfo = replace(measinfo, element=f"{self.origin.endpoint}/{measinfo.element}")
        self.facts.add(measinfo.element, head.sw_version, head.job)
        key = PeriodKey(measinfo.element, group, period.gp_s, period.end_s)
        if measinfo.unconverted:
            self.quarantine.add_unconverted(key, measinfo.unconverted)
        if nameless:
            self.quarantine.add_nameless(key, nameless)
        self.tables.add(key, period, CounterColumns(head.job, measinfo.counters), measinfo.rows)

    def _split_nameless(self, info: CollectedMeasInfo) -> list[NamelessValue]:
        """Removes counters without a name from a measInfo and returns their values."""
        found: list[NamelessValue] = []
        kept: list[Rows] = []
        for before, (after, values) in zip(info.rows, split_nameless(info.head.counters, info.rows), strict=True):
            found += values
            kept.append(self._respooled(after, before))
        info.rows = [part for part in kept if part.height]
        info.head = replace(info.head, counters=tuple(filter(None, info.head.counters)))
        return found

    def _preprocessed(self, info: CollectedMeasInfo, element: str, group: str) -> MeasInfoRows:
        """Applies the steps and the dictionary of the system, part by part, so that one part is in memory at a time."""
        counters, dictionary = info.head.counters, self.preprocessing.dictionary
        declared = dictionary.declared(group, counters) if dictionary else (UNDECLARED,) * len(counters)
        measinfo = MeasInfoRows(element, counters, declared, [])
        kept: list[Rows] = []
        unconverted: list[UnconvertedValue] = []
        for before in info.rows:
            measinfo = preprocessed(MeasInfoRows(element, counters, declared, [before]), self.preprocessing)
            self.tally.add_nulled(measinfo.nulled)
            kept += [self._respooled(after, before) for after in measinfo.rows]
            unconverted += measinfo.unconverted
        if dictionary:
            suspects = kept if contradicted(measinfo.declared, info.types_found) else ()
            self.declared.add(group, measinfo.counters, measinfo.declared, suspects)
        return replace(measinfo, rows=kept, unconverted=tuple(unconverted))

    def _respooled(self, after: Rows, before: Rows) -> Rows:
        """Puts changed rows into the spool in place of the original ones."""
        if after.held is before.held:
            return after
        self.packer.spool.release(before.held)
        return replace(after, held=self.packer.spool.put(after.text))
