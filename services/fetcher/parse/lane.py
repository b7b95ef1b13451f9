"""The fast lane in front of expat: takes out of the text, beforehand, the rows it can prove; expat reads the rest.

Where a row can begin is proven by expat itself (`Document.is_between_elements`); that everything up to the end of the
piece is rows, each a complete element with exactly the expected values, by a pattern compiled once for each list of
p; that texts hold no character with a meaning in XML, by the numbers' grammar or by a search. What was taken out
leaves the document as well-formed, or as broken, as it was.
"""

import re
from collections.abc import Generator, Iterable, Iterator

from services.fetcher.parse import proof
from services.fetcher.parse.block import Block
from services.fetcher.parse.cells import BLANKS
from services.fetcher.parse.document import Document
from services.fetcher.parse.measinfo import MeasInfos
from services.fetcher.parse.patterns import MAX_COUNTERS, OBJECTS, TAILS, Words, counters, listed, split
from services.fetcher.parse.rows import line
from services.fetcher.parse.text import lines_in

PIECE = 1 << 18
"""Characters handled at once, about; so much text, and its rows, are in memory."""


class Lane:
    """Reads the pieces of one document."""

    def __init__(self, document: Document, reader: MeasInfos, words: Words) -> None:
        self.document = document
        self.reader = reader
        self.words = words
        self.counter_begin = re.compile(words.counter_begin)

    def read(self, text: str, begin: int, end: int) -> Iterator[Block]:
        """The rows of a piece of the document (see `pieces`)."""
        at = text.find(self.words.row, begin, end)
        if at >= 0:
            self._read_head(text, begin, at)
            yield from self.reader.take()
            rows_end = end - (len(self.words.info_end) if text.endswith(self.words.info_end, at, end) else 0)
            block = self._rows(text, at, rows_end)
            begin = rows_end if block else at
            if block:
                yield block
        self.document.feed(text[begin:end])
        yield from self.reader.take()

    def _read_head(self, text: str, begin: int, end: int) -> None:
        named = self.counter_begin.search(text, begin, end)
        at = named.start() if named else end
        known = counters(text[at:end], self.words)
        if not known:
            self.document.feed(text[begin:end])
            return
        self.document.feed(text[begin:at])
        if self._is_in_info() and self.reader.name_all(known.names, known.positions):
            self.document.places.hidden(text, at, end, known.lines)
        else:
            self.document.feed(text[at:end])

    def _is_in_info(self) -> bool:
        path = self.reader.path
        return bool(path) and path[-1] == self.words.info and self.document.is_between_elements()

    def _rows(self, text: str, at: int, end: int) -> Block | None:
        """A block of all that is there, taken out of the document; None when it is not proven to be rows."""
        info = self.reader.info if self._is_in_info() else None
        if not info or not 0 < len(info.names) <= MAX_COUNTERS or not info.is_clear:
            return None
        found = listed(self.words, text, at, end)
        read = proof.listed if found else proof.split
        found = found or split(self.words, tuple(info.positions), text, at, end)
        if not found:
            return None
        objects = [OBJECTS[row[0]] for row in found.rows]
        tails = [TAILS[row[-1]] for row in found.rows]
        brackets = text.find("[", at, end) >= 0 or text.find("]", at, end) >= 0
        values = read(found.rows, len(info.names), has_brackets=brackets)
        if not values or "" in objects or ("", 0) in tails:
            return None
        if found.lines < 0 or not values.has_shape:
            lines = lines_in(text, at, end)
        else:
            lines = found.lines * len(objects) + sum(more for _, more in tails)
        self.document.places.hidden(text, at, end, lines)
        info.close(found.rows[0][0].strip(BLANKS))
        json = [line(name, flag, row) for name, (flag, _), row in zip(objects, tails, values.lines, strict=True)]
        return Block(info.head, objects, json, values.nulls)


def pieces(texts: Iterable[str], words: Words, size: int = PIECE) -> Iterator[tuple[str, int, int]]:
    """The text in spans of larger ones: up to the end of a measInfo each, or of a row when a measInfo is long."""
    text = ""
    for more in texts:
        text += more
        if len(text) >= size:
            rest = yield from _spans(text, words, size)
            text = text[rest:]
    rest = yield from _spans(text, words, size)
    yield text, rest, len(text)


def _spans(text: str, words: Words, size: int) -> Generator[tuple[str, int, int], None, int]:
    """All that is complete; returns where the rest begins."""
    begin = 0
    while (end := text.find(words.info_end, begin)) >= 0:
        end += len(words.info_end)
        yield text, begin, end
        begin = end
    if len(text) - begin >= size:
        row_end = text.rfind(words.row_end, begin)
        end = row_end + len(words.row_end) if row_end >= 0 else len(text)
        yield text, begin, end
        begin = end
    return begin
