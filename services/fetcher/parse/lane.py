"""The fast lane in front of expat: takes out of the text, beforehand, the rows it can prove; expat reads the rest.

Where a row can begin is proven by expat itself (`Document.is_between_elements`); that everything up to the end of the
piece is rows, each a complete element with exactly the expected values, by a pattern compiled once for each list of
p; that texts hold no character with a meaning in XML, by the numbers' grammar or by a search. What was taken out
leaves the document as well-formed, or as broken, as it was.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from services.fetcher.parse import cells, rows
from services.fetcher.parse.block import Block
from services.fetcher.parse.document import Document
from services.fetcher.parse.measinfo import MeasInfos
from services.fetcher.parse.memo import Memo

PIECE = 1 << 19
"""Characters handled at once, about; so much text, and its rows, are in memory."""
MAX_COUNTERS = 2000
"""Of a measInfo; the pattern of a wider one would take too long to compile."""

_WS = r"[ \t\r\n]*+"
_MARKUP = re.compile(r"[&>\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""In text without "<": entities, the end of CDATA, line ends to be normalised, what XML forbids."""
_MARKUP_IN_NAME = re.compile(r"[<&>\x00-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Words:
    """The few words in which the dialects differ, as patterns; white space of the layout stands as {0}, {1}."""

    info: str
    info_end: str
    row: str
    row_end: str
    opening: str
    """Up to the first value; its only group is the object."""
    tail: str
    """Behind the last value."""
    counter: str
    """A counter's name with its p, if it has one."""
    results: str
    """All values in one element; empty in dialects without."""


MEASVALUE = Words(
    info="measInfo",
    info_end="</measInfo>",
    row="<measValue ",
    row_end="</measValue>",
    opening='<measValue measObjLdn="([^"]*+)">{0}',
    tail=rf"({_WS}(?:<suspect>[^<]*+</suspect>{_WS})?+</measValue>{_WS})",
    counter=rf'<measType p="([1-9]\d{{0,8}})">([^<]*+)</measType>{_WS}',
    results="<measResults>([^<]*+)</measResults>",
)
MV = Words(
    info="mi",
    info_end="</mi>",
    row="<mv>",
    row_end="</mv>",
    opening="<mv>{0}<moid>([^<]*+)</moid>{1}",
    tail=rf"({_WS}(?:<sf>[^<]*+</sf>{_WS})?+</mv>{_WS})",
    counter=rf'<mt(?: p="([1-9]\d{{0,8}})")?+>([^<]*+)</mt>{_WS}',
    results="",
)
LANES = {"measCollecFile": MEASVALUE, "measDataFile": MEASVALUE, "mdc": MV}
"""By the root element."""


def _object(text: str) -> str:
    return "" if _MARKUP_IN_NAME.search(text) else cells.quoted(text.strip(cells.BLANKS))


def _tail(text: str) -> tuple[str, int]:
    """What stands behind a row's values: the flag, and how many lines it takes; no flag where expat must look."""
    content = text.partition("</")[0].rpartition(">")[2]
    if _MARKUP.search(content):
        return "", 0
    return "1" if rows.is_suspect(content) else "0", text.count("\n")


_OBJECTS = Memo(_object)
_TAILS = Memo(_tail)


def _run(pattern: re.Pattern[str], text: str, at: int, end: int) -> list[re.Match[str]]:
    """Matches of the pattern, each where the one before ended, and all the text from `at` to `end`; else none."""
    scanner = pattern.scanner(text, at, end)  # type: ignore[attr-defined] # undocumented, and twice as fast
    found = list(iter(scanner.match, None))
    return found if found and found[-1].end() == end else []


@dataclass(frozen=True, slots=True)
class Counters:
    """A run of counters' names."""

    names: tuple[str, ...]
    positions: tuple[str, ...]
    lines: int


@lru_cache(512)
def _counters(text: str, words: Words) -> Counters | None:
    """What the text names; None when it is anything else than such a run."""
    found = _run(re.compile(words.counter), text, 0, len(text))
    if not 0 < len(found) <= MAX_COUNTERS:
        return None
    names = tuple(match[2].strip(cells.BLANKS) for match in found)
    if any(_MARKUP.search(name) for name in names):
        return None
    return Counters(names, tuple(match[1] or str(at) for at, match in enumerate(found, 1)), text.count("\n"))


@lru_cache(8)
def _layout_pattern(words: Words) -> re.Pattern[str]:
    """Finds a row's layout: the white space before the first value and between values, and whether values have a p."""
    opening = words.opening.replace("(", "(?:").format(f"({_WS})", f"({_WS})")
    return re.compile(rf"{opening}<r( p=)?[^>]*+>[^<]*+</r>({_WS})<")


@lru_cache(512)
def _row_pattern(words: Words, positions: tuple[str, ...], layout: tuple[str, ...]) -> re.Pattern[str]:
    """A row of all its values in just this layout; a position without a name stands for a value without a p."""
    values = (f'<r p="{p}">([^<]*+)</r>' if p else "<r>([^<]*+)</r>" for p in positions)
    *spaces, gap = map(re.escape, layout)
    return re.compile(words.opening.format(*spaces) + gap.join(values) + words.tail)


@lru_cache(512)
def _sparse_pattern(words: Words, positions: tuple[str, ...]) -> re.Pattern[str]:
    """A row that may leave values out, in any layout."""
    values = (f'(?><r p="{p}">([^<]*+)</r>{_WS}|<r p="{p}" ?/>{_WS}|)' for p in positions)
    return re.compile(words.opening.format(_WS, _WS) + "".join(values) + words.tail)


@lru_cache(8)
def _list_pattern(words: Words) -> re.Pattern[str]:
    """A row with all its values in one list."""
    return re.compile(words.opening.format(_WS, _WS) + _WS + words.results + words.tail)


Groups = tuple[str, ...]
"""What a row's pattern found: the object, the values, the tail."""


def _all(pattern: re.Pattern[str], piece: str, at: int, end: int) -> list[Groups]:
    """The rows, if there is nothing else between `at` and `end`; values left out are blanks."""
    return [match.groups(" ") for match in _run(pattern, piece, at, end)]


@dataclass(frozen=True, slots=True)
class Cells:
    """The values of some rows, proven to be what they seem."""

    texts: list[str]
    """In JSON, comma-joined, one text a row."""
    nulls: int
    have_no_lines: bool = False


def _split_cells(found: list[Groups], count: int) -> Cells | None:
    texts = [",".join(row[1:-1]) for row in found]
    proven = cells.expanded("\n".join(texts), _shape(b",", count, len(found)))
    if proven is not None:
        return Cells(proven.split("\n"), proven.count(cells.NULL), have_no_lines=True)
    return _any_cells([row[1:-1] for row in found], "\n".join(texts))


def _list_cells(found: list[Groups], count: int) -> Cells | None:
    texts = [row[1].strip(cells.BLANKS) for row in found]
    proven = cells.compact("\n".join(texts), _shape(b" ", count, len(found)))
    if proven is not None:
        return Cells(proven.split("\n"), proven.count(cells.NULL))
    values = [tuple(rows.split(text)) for text in texts]
    return _any_cells(values, "\n".join(texts)) if all(len(row) == count for row in values) else None


def _any_cells(values: list[Groups], text: str) -> Cells | None:
    """Whatever the values are, one by one."""
    if _MARKUP.search(text):
        return None
    json = [[*map(cells.CELLS.__getitem__, row)] for row in values]
    return Cells([",".join(row) for row in json], sum(row.count(cells.NULL) for row in json))


def _shape(separator: bytes, count: int, height: int) -> bytes:
    return ((separator * (count - 1) + b"\n") * height)[:-1]


class Lane:
    """Reads the pieces of one document."""

    def __init__(self, document: Document, reader: MeasInfos, words: Words) -> None:
        self.document = document
        self.reader = reader
        self.words = words
        self.counter_begin = words.counter.partition("(")[0].partition(" ")[0]

    def read(self, piece: str) -> Iterator[Block]:
        """The rows of a piece of the document (see `pieces`)."""
        at = piece.find(self.words.row)
        if at >= 0:
            end = len(piece) - (len(self.words.info_end) if piece.endswith(self.words.info_end) else 0)
            self._read_head(piece, at)
            yield from self.reader.take()
            block = self._rows(piece, at, end)
            if block:
                yield block
                at = end
        self.document.feed(piece[max(at, 0) :])
        yield from self.reader.take()

    def _read_head(self, piece: str, end: int) -> None:
        begin = piece.find(self.counter_begin, 0, end)
        known = _counters(piece[begin:end], self.words) if begin >= 0 else None
        if not known:
            self.document.feed(piece[:end])
            return
        self.document.feed(piece[:begin])
        if self._is_in_info() and self.reader.name_all(known.names, known.positions):
            self.document.hide(piece, begin, end, known.lines)
        else:
            self.document.feed(piece[begin:end])

    def _is_in_info(self) -> bool:
        path = self.reader.path
        return bool(path) and path[-1] == self.words.info and self.document.is_between_elements()

    def _rows(self, piece: str, at: int, end: int) -> Block | None:
        """A block of all that is there, taken out of the document; None when it is not proven to be rows."""
        if not self._is_in_info():
            return None
        info = self.reader.info
        if not info or not 0 < len(info.names) <= MAX_COUNTERS:
            return None
        found, values, lines_per_row = self._found(piece, at, end, tuple(info.positions))
        if not values:
            return None
        objects = [_OBJECTS[row[0]] for row in found]
        tails = [_TAILS[row[-1]] for row in found]
        if "" in objects or ("", 0) in tails:
            return None
        known = values.have_no_lines and lines_per_row >= 0
        lines = lines_per_row * len(found) + sum(more for _, more in tails) if known else piece.count("\n", at, end)
        self.document.hide(piece, at, end, lines)
        info.close()
        json = [rows.line(name, tail[0], text) for name, tail, text in zip(objects, tails, values.texts, strict=True)]
        return Block(info.head, objects, json, values.nulls)

    def _found(
        self, piece: str, at: int, end: int, positions: tuple[str, ...]
    ) -> tuple[list[Groups], Cells | None, int]:
        """The rows with their values, and how many lines each takes up to its tail (-1: they differ)."""
        words, count = self.words, len(positions)
        layout = _layout_pattern(words).match(piece, at, end)
        if layout:
            *spaces, named, gap = layout.groups()
            pattern = _row_pattern(words, positions if named else ("",) * count, (*spaces, gap))
            if found := _all(pattern, piece, at, end):
                lines = sum(space.count("\n") for space in spaces) + gap.count("\n") * (count - 1)
                return found, _split_cells(found, count), lines
        if found := _all(_sparse_pattern(words, positions), piece, at, end):
            return found, _split_cells(found, count), -1
        if words.results and (found := _all(_list_pattern(words), piece, at, end)):
            return found, _list_cells(found, count), -1
        return [], None, -1


def pieces(texts: Iterable[str], words: Words) -> Iterator[str]:
    """The text anew: up to the end of a measInfo each, or of a row when a measInfo is long."""
    text = ""
    for more in chain(texts, [None]):
        text += more or ""
        if more is not None and len(text) < PIECE:
            continue
        begin = 0
        while (end := text.find(words.info_end, begin)) >= 0:
            end += len(words.info_end)
            yield text[begin:end]
            begin = end
        text = text[begin:]
        if more is None or len(text) >= PIECE:
            cut = text.rfind(words.row_end) + len(words.row_end) if words.row_end in text else len(text)
            yield text[:cut]
            text = text[cut:]
    yield text
