"""Reads vendors' tables (CSV) by profiles: each row holds the values of one object under the header's counters."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from operator import itemgetter

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import Fault, MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.tables.charset import TableText
from services.fetcher.parse.tables.header import LINES, MAX_LINE, Header, header_of, lines_of
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.tables.records import MalformedRow, TableRows
from services.fetcher.parse.tables.spelling import bare_number, duration, is_ambiguous, number, time
from services.fetcher.parse.text import Padding
from services.fetcher.parse.values import rows
from services.fetcher.parse.values.cells import BLANKS, CELLS, NULL
from services.fetcher.parse.values.memo import Memo
from services.fetcher.parse.values.naming import class_of
from services.fetcher.parse.values.rows import RowTexts
from services.fetcher.reasons import AMBIGUOUS_COMMA, COUNT_MISMATCH, MALFORMED_ROW, NAMELESS, NO_ROLE

_ROWS = 2000
"""Maximum number of rows in one round of blocks."""
_CELLS = 200_000
"""Maximum number of cells in one round of blocks: of wide tables, a round has fewer rows."""
_HEADS = 2000
"""Maximum number of heads that are remembered."""

_UNENDED = "the last line has no line end: its last value may be cut off"

BlockKey = tuple[str, str, str, str, str, str]
"""The common texts of the rows of a block: element, group, date, begin, end, period."""


def table_blocks(chunks: Iterable[bytes], profiles: Sequence[Profile], file_name: str = "") -> Iterator[MeasInfoBlock]:
    """Yields the rows of a table; each block has one element, group and period.

    Raises:
        BadFile: no profile matches the header, or the table is malformed or cut off; says where.
    """
    csv.field_size_limit(MAX_LINE)
    source, head = iter(chunks), b""
    while head.count(b"\n") < LINES and len(head) < MAX_LINE and (chunk := next(source, None)) is not None:
        head += chunk
    header, first = _header(head, profiles)
    text, padding = TableText(chain([head], source), header.layout.profile.encoding), Padding()
    lines = lines_of(padding.removed(text), lambda: f"bytes that are not {text.encoding}")
    above = list(islice(lines, header.at + 1))
    if above != first[: header.at + 1]:  # the names decoded by the profile's encoding may differ
        header = header_of(above, [header.layout.profile])
    yield from _Table(header, file_name).read(lines)
    guess = f"not UTF-8, read as {text.guess}" if text.guess else ""
    for note in filter(None, (guess, padding.note)):
        yield MeasInfoBlock(MeasInfoHead(), [], [], 0, note=note)


def _header(head: bytes, profiles: Sequence[Profile]) -> tuple[Header, list[str]]:
    """Returns the header and the lines that may hold it, decoded as they look like or else by a profile's encoding."""
    try:
        first = _first_lines(head)
        return header_of(first, profiles), first
    except BadFile:
        for profile in profiles:
            if profile.encoding:
                with suppress(BadFile):
                    first = _first_lines(head, profile.encoding)
                    return header_of(first, [profile]), first
        raise


def _first_lines(head: bytes, encoding: str = "") -> list[str]:
    text = TableText([head], encoding)
    return list(islice(lines_of(Padding().removed(text), lambda: f"bytes that are not {text.encoding}"), LINES))


class _Table:
    """Reads the rows of a table below its header."""

    def __init__(self, header: Header, file_name: str) -> None:
        self.header = header
        self.layout = header.layout
        self.profile = profile = header.layout.profile
        by_file = re.search(profile.group_by_file_name, file_name) if profile.group_by_file_name else None
        self.file_group = (by_file[1] or "") if by_file else ""
        self.good = frozenset(word.lower() for word in profile.good)
        self.missing = frozenset(word.lower() for word in profile.missing)
        self.has_decimal_commas = (profile.decimal or ("," if header.delimiter == ";" else ".")) == ","
        self.element_pattern = re.compile(profile.element_pattern) if profile.element_pattern else None
        self.group_pattern = re.compile(profile.group_pattern) if profile.group_pattern else None
        self.heads: dict[BlockKey, MeasInfoHead] = {}
        self.waiting: dict[BlockKey, list[RowTexts]] = {}
        """Rows for the next round of blocks."""
        self.faults: dict[tuple[BlockKey, str], list[Fault]] = {}
        """Key and reason -> values that are not in these rows."""
        self.has_ambiguous = False
        """True if any cell so far was ambiguous."""
        self.dropped = 0
        """Values of these rows in columns without a role."""
        self.has_rows = False
        self.texts = Memo(self._text)
        self.counter_cells = _cells_getter(self.layout.counters)
        self.rows_per_round = max(1, min(_ROWS, _CELLS // self.layout.width))

    def read(self, lines: Iterator[str]) -> Iterator[MeasInfoBlock]:
        """Yields the blocks of the table."""
        source = TableRows(lines, self.header.delimiter, width=self.layout.width, above=self.header.at + 1)
        waiting = 0
        for below, row in enumerate(source, 1):
            if isinstance(row, MalformedRow):
                yield self._fault(source.unquoted(row), source.line, MALFORMED_ROW)
                continue
            if not any(row) or self._is_header(row, below):
                continue
            cells, nameless = self._fitted(row)
            if len(cells) != self.layout.width:
                if not source.is_ended:
                    raise BadFile("the table is cut off within a row", source.line)
                yield self._fault(cells, source.line, COUNT_MISMATCH)
                continue
            self._add(cells, nameless, source.line)
            waiting += 1
            if waiting == self.rows_per_round:
                yield from self._round()
                waiting = 0
        yield from self._round()
        if not source.is_ended:
            yield MeasInfoBlock(MeasInfoHead(), [], [], 0, note=_UNENDED)

    def _fitted(self, row: list[str]) -> tuple[list[str], list[str]]:
        """Splits off the cells behind the last column that has a name; removes blank ones."""
        width = self.layout.width
        while len(row) > width and not row[-1].strip():
            row.pop()
        return (row[:width], row[width:]) if width < len(row) <= len(self.header.names) else (row, [])

    def _is_header(self, row: list[str], below: int) -> bool:
        """Returns True for a repeated header, as in joined files, and for a row of units before the first row.

        Rows without a time are units if they are among the profile's header rows, or if they hold no number.
        """
        if row == self.header.names:
            return True
        if self.has_rows:
            return False
        times = [row[at] for at in (self.layout.begin, self.layout.end) if 0 <= at < len(row)]
        if any(character.isdigit() for text in times for character in text):
            return False
        values = (CELLS[row[at]] for at in self.layout.counters if at < len(row))
        return below < self.profile.header_rows or all(value[0] in 'n"' for value in values)

    def _add(self, cells: list[str], nameless: list[str], line: int) -> None:
        self.has_rows = True
        name = self._object(cells)
        key = self._key(cells, name)
        if (waiting := self.waiting.get(key)) is None:
            self._head(key, line)
            waiting = self.waiting[key] = []
        row = self._row(cells, name)
        if nameless:
            faults = self.faults.setdefault((key, NAMELESS), [])
            texts = filter(lambda text: CELLS[text] != NULL, map(self._text, nameless))
            faults += [Fault(NAMELESS, name, row[1], (text,)) for text in texts]
        waiting.append(self._without_ambiguous(row, key) if self.has_ambiguous else row)
        if self.layout.others:
            self.dropped += sum(CELLS[cells[at]] != NULL for at in self.layout.others)

    def _without_ambiguous(self, row: RowTexts, key: BlockKey) -> RowTexts:
        name, suspect, texts = row
        found = [at for at, text in enumerate(texts) if self._is_ambiguous(text)]
        if not found:
            return row
        faults = self.faults.setdefault((key, AMBIGUOUS_COMMA), [])
        faults += [Fault(AMBIGUOUS_COMMA, name, suspect, (texts[at],), (self.layout.names[at],)) for at in found]
        return name, suspect, tuple("" if at in found else text for at, text in enumerate(texts))

    def _round(self) -> Iterator[MeasInfoBlock]:
        """Yields the waiting rows as blocks; the first block carries the number of dropped values."""
        dropped, self.dropped = self.dropped, 0
        for key, waiting in self.waiting.items():
            block = rows.measinfo_block(self._head(key), waiting, [])
            yield replace(block, dropped={NO_ROLE: dropped}) if dropped else block
            dropped = 0
        for (key, _), faults in self.faults.items():
            yield MeasInfoBlock(replace(self._head(key)), [], [], 0, faults)
        self.waiting.clear()
        self.faults.clear()

    def _fault(self, cells: list[str], line: int, reason: str) -> MeasInfoBlock:
        """Returns a faulty row with a head of its own, so that no other row is quarantined with it."""
        padded = cells + [""] * (self.layout.width - len(cells))
        taken = {at for at in range(len(cells)) if at >= self.layout.width or at in self.layout.counters}
        results = tuple(self._text(cells[at]) for at in sorted(taken))
        name = self._object(padded)
        _, suspect, _ = self._row(padded, name)
        head = replace(self._head(self._key(padded, name)), line=line)
        return MeasInfoBlock(head, [], [], 0, [Fault(reason, name, suspect, results)])

    def _row(self, cells: list[str], name: str) -> RowTexts:
        layout = self.layout
        suspect = layout.suspect >= 0 and cells[layout.suspect].strip().lower() not in self.good
        return name, suspect, tuple(map(self.texts.__getitem__, self.counter_cells(cells)))

    def _text(self, cell: str) -> str:
        if cell.strip().lower() in self.missing:
            return ""
        if "," not in cell:
            return cell
        text = number(cell) if self.has_decimal_commas else cell
        if self.profile.commas == "thousands":
            return bare_number(text)
        self.has_ambiguous = self.has_ambiguous or self._is_ambiguous(text)
        return text

    def _is_ambiguous(self, text: str) -> bool:
        if "," not in text or self.profile.commas:
            return False
        return is_ambiguous(text, has_decimal_point=self.profile.decimal == ".")

    def _object(self, cells: list[str]) -> str:
        parts = [(name, cells[at].strip(BLANKS)) for name, at in self.layout.objects]
        if len(parts) == 1:
            return parts[0][1]
        return ",".join(f"{name}={value}" for name, value in parts if value)

    def _key(self, cells: list[str], name: str) -> BlockKey:
        layout = self.layout
        element = _cell(cells, layout.element) or _found(self.element_pattern, name)
        group = _cell(cells, layout.group) or self.file_group or _found(self.group_pattern, name) or class_of(name)
        date, begin, end, period = (_cell(cells, at) for at in (layout.date, layout.begin, layout.end, layout.period))
        return element, group, date, begin, end, period

    def _head(self, key: BlockKey, line: int = 0) -> MeasInfoHead:
        if (head := self.heads.get(key)) is None:
            if len(self.heads) > _HEADS:
                self.heads.clear()
            element, group, date, begin, end, period = key
            begin, end = (time(f"{date} {text}".strip() if text else "", self.profile) for text in (begin, end))
            default = "" if begin and end else self.profile.default_period
            length = duration(period, self.profile.period_unit) or default
            self.heads[key] = head = MeasInfoHead(element, group, "", length, begin, end, self.layout.names, line=line)
        return head


def _cells_getter(columns: tuple[int, ...]) -> Callable[[list[str]], Sequence[str]]:
    """Returns a function that returns the cells of these columns of a row."""
    if columns == tuple(range(columns[0], columns[-1] + 1)):
        return itemgetter(slice(columns[0], columns[-1] + 1))
    return itemgetter(*columns)


def _cell(cells: list[str], at: int) -> str:
    return cells[at].strip(BLANKS) if at >= 0 else ""


def _found(pattern: re.Pattern[str] | None, text: str) -> str:
    match = pattern.match(text) if pattern else None
    return (match[1] or "").strip() if match else ""
