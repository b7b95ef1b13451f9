"""Vendors' tables (CSV), by profiles: each row is an object's, its values under the header's counters."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice

from services.fetcher.parse import rows
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.block import Block, Fault, Head
from services.fetcher.parse.cells import BLANKS
from services.fetcher.parse.measinfo import COUNT_MISMATCH
from services.fetcher.parse.naming import class_of
from services.fetcher.parse.period import time_of
from services.fetcher.parse.profile import Layout, Profile, layout_of

_HEADER_LINES = 40
"""Lines, titles and remarks, among which the header must be."""
_MAX_LINE = 4 << 20
"""Characters."""
_ROWS = 2000
"""Handed on at once."""
_FORBIDDEN = re.compile(r"[\x00-\x08\x0e-\x1f\uffff]")
_PERIOD = re.compile(r"(\d{1,6})(?:\.0*)?\s*([a-z]?)[a-z()]*", re.IGNORECASE)
_UNITS = {"s": "PT{}S", "m": "PT{}M", "h": "PT{}H", "d": "P{}D"}
_SUMMER_TIME = re.compile(r"\s*\(?DST\)?$")
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")

Row = tuple[str, bool, tuple[str, ...]]


def blocks(texts: Iterable[str], profiles: Sequence[Profile], file_name: str = "") -> Iterator[Block]:
    """The rows of a table; each block is of one element, group and period.

    Raises:
        BadFile: no profile knows the header, or it is no table, or is cut off; says where.
    """
    lines = _lines(texts)
    first = list(islice(lines, _HEADER_LINES))
    at, delimiter, layout = _header(first, profiles)
    yield from _Table(layout, file_name).read(chain(first[at + 1 :], lines), delimiter, at + 1)


def _header(lines: list[str], profiles: Sequence[Profile]) -> tuple[int, str, Layout]:
    for at, line in enumerate(lines):
        if fitting := list(_layouts(line, profiles)):
            delimiter, layout = max(fitting, key=lambda found: found[1].claimed)  # the first of several
            return at, delimiter, layout
    known = ", ".join(profile.name for profile in profiles)
    raise BadFile(f"neither XML nor a table whose header a profile knows ({known})", 1, 1)


def _layouts(line: str, profiles: Sequence[Profile]) -> Iterator[tuple[str, Layout]]:
    for profile in profiles:
        for delimiter in profile.delimiters:
            if delimiter in line:
                header = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
                if layout := layout_of(header, profile):
                    yield delimiter, layout


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """With their ends."""
    rest, number = "", 0
    for text in texts:
        *whole, rest = (rest + text).replace("\r\n", "\n").split("\n")
        for line in whole:
            number += 1
            yield _checked(line, number) + "\n"
        if len(rest) > _MAX_LINE:
            raise BadFile(f"a line of more than {_MAX_LINE} characters", number + 1)
    if rest:
        yield _checked(rest, number + 1)


def _checked(line: str, number: int) -> str:
    if found := _FORBIDDEN.search(line):
        raise BadFile("a byte that is no character, or a control character", number, found.start() + 1)
    return line


@dataclass(slots=True)
class _Source:
    """The lines as csv takes them; knows whether the last had an end."""

    lines: Iterator[str]
    is_ended: bool = True

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.is_ended = line.endswith("\n")
            yield line


class _Table:
    """A table below its header."""

    def __init__(self, layout: Layout, file_name: str) -> None:
        self.layout = layout
        self.profile = profile = layout.profile
        by_file = re.search(profile.group_by_file_name, file_name) if profile.group_by_file_name else None
        self.file_group = by_file[1] if by_file else ""
        self.good = frozenset(word.lower() for word in profile.good)
        self.missing = frozenset(word.lower() for word in profile.missing)
        self.element_pattern = re.compile(profile.element_pattern) if profile.element_pattern else None
        self.group_pattern = re.compile(profile.group_pattern) if profile.group_pattern else None
        self.heads: dict[tuple[str, ...], Head] = {}

    def read(self, lines: Iterator[str], delimiter: str, above: int) -> Iterator[Block]:
        source = _Source(lines)
        reader = csv.reader(source, delimiter=delimiter, skipinitialspace=True, strict=True)
        waiting: dict[tuple[str, ...], list[Row]] = {}
        count = 0
        try:
            for number, row in enumerate(reader, 2):
                if not any(row) or (number <= self.profile.header_rows and self._is_units(row)):
                    continue
                cells = self._fitted(row)
                if len(cells) != self.layout.width:
                    if not source.is_ended:
                        raise BadFile("cut off within a row", above + reader.line_num)
                    yield self._fault(cells)
                    continue
                waiting.setdefault(self._key(cells), []).append(self._row(cells))
                count += 1
                if count % _ROWS == 0:
                    yield from self._taken(waiting)
        except csv.Error as error:
            raise BadFile(f"not a table: {error}", above + reader.line_num) from error
        yield from self._taken(waiting)

    def _fitted(self, row: list[str]) -> list[str]:
        """Without what a delimiter behind the last column leaves."""
        while len(row) > self.layout.width and not row[-1].strip():
            row.pop()
        return row

    def _is_units(self, row: list[str]) -> bool:
        times = [row[at] for at in (self.layout.begin, self.layout.end) if 0 <= at < len(row)]
        return not any(character.isdigit() for time in times for character in time)

    def _taken(self, waiting: dict[tuple[str, ...], list[Row]]) -> Iterator[Block]:
        for key, of_key in waiting.items():
            yield rows.block(self._head(key), of_key, [])
        waiting.clear()

    def _fault(self, cells: list[str]) -> Block:
        """A row by itself, with a head of its own: the others are not to suffer."""
        padded = cells + [""] * (self.layout.width - len(cells))
        taken = {at for at in range(len(cells)) if at >= self.layout.width or at in self.layout.counters}
        results = tuple(self._text(cells[at]) for at in sorted(taken))
        name, suspect, _ = self._row(padded)
        head = replace(self._head(self._key(padded)))
        return Block(head, [], [], 0, [Fault(COUNT_MISMATCH, name, suspect, results)])

    def _row(self, cells: list[str]) -> Row:
        layout = self.layout
        suspect = layout.suspect >= 0 and cells[layout.suspect].strip().lower() not in self.good
        return self._object(cells), suspect, tuple(self._text(cells[at]) for at in layout.counters)

    def _text(self, cell: str) -> str:
        return "" if cell.strip().lower() in self.missing else cell

    def _object(self, cells: list[str]) -> str:
        parts = [(name, cells[at].strip(BLANKS)) for name, at in self.layout.objects]
        if len(parts) == 1:
            return parts[0][1]
        return ",".join(f"{name}={value}" for name, value in parts if value)

    def _key(self, cells: list[str]) -> tuple[str, ...]:
        """What rows of a block have in common, as it is written: element, group, begin, end, period."""
        layout, name = self.layout, self._object(cells)
        element = _cell(cells, layout.element) or _found(self.element_pattern, name)
        group = _cell(cells, layout.group) or self.file_group or _found(self.group_pattern, name) or class_of(name)
        times = (_cell(cells, layout.begin), _cell(cells, layout.end))
        return element, group, *times, _cell(cells, layout.period)

    def _head(self, key: tuple[str, ...]) -> Head:
        if (head := self.heads.get(key)) is None:
            if len(self.heads) > _ROWS:
                self.heads.clear()
            element, group, *times, period = key
            begin, end = (self._time(text) for text in times)
            duration = (
                _duration(period, self.profile.period_unit) or _between(begin, end) or self.profile.default_period
            )
            head = Head(element, group, "", duration, begin, end, self.layout.names, "")
            self.heads[key] = head
        return head

    def _time(self, text: str) -> str:
        """Brought to ISO 8601; left as it is where that fails: a bad period is told as it is written."""
        text = _SUMMER_TIME.sub("", text)
        if text and self.profile.time_format:
            try:
                text = datetime.strptime(text, self.profile.time_format).isoformat()  # noqa: DTZ007 - zone below
            except ValueError:
                return text
        return text + self.profile.zone if text and not _ZONE.search(text, 10) else text


def _cell(cells: list[str], at: int) -> str:
    return cells[at].strip(BLANKS) if at >= 0 else ""


def _found(pattern: re.Pattern[str] | None, text: str) -> str:
    match = pattern.match(text) if pattern else None
    return match[1].strip() if match else ""


@lru_cache(256)
def _duration(text: str, unit: str) -> str:
    """ISO 8601 of "15", "15 Minute(s)", "15min", "900s", "1 hour", "PT15M"."""
    found = _PERIOD.fullmatch(text)
    if not found:
        return text
    return _UNITS.get((found[2] or unit)[:1].lower(), "{}").format(int(found[1]))


@lru_cache(256)
def _between(begin: str, end: str) -> str:
    if not (begin and end):
        return ""
    try:
        return f"PT{time_of(end, 0)[0] - time_of(begin, 0)[0]}S"
    except ValueError:
        return ""
