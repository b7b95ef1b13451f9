"""The fast lane in front of expat: takes out of the text, beforehand, the rows it can prove; expat reads the rest.

Where a row can begin is proven by expat itself (`Document.is_between_elements`); that it is a row, a complete element
with exactly the expected values, by a pattern compiled once for each list of p; that texts hold no character with a
meaning in XML, by the numbers' grammar or by a search. What was taken out leaves the document as well-formed, or as
broken, as it was.
"""

import re
from collections.abc import Generator, Iterable, Iterator

from services.fetcher.parse.block import Block
from services.fetcher.parse.text import lines_in
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.xml import proof
from services.fetcher.parse.xml.document import Document
from services.fetcher.parse.xml.measinfo import Info, MeasInfos
from services.fetcher.parse.xml.patterns import MAX_COUNTERS, OBJECTS, TAILS, Found, Words, counters, listed, split

PIECE = 1 << 18
"""Characters handled at once, about; so much text, and its rows, are in memory."""


class Lane:
    """Reads the text of one document, from wherever the document has been read."""

    def __init__(self, document: Document, reader: MeasInfos, words: Words, piece: int) -> None:
        self.document = document
        self.reader = reader
        self.words = words
        self.piece = piece
        self.counter_begin = re.compile(words.counter_begin)

    def read(self, texts: Iterable[str]) -> Iterator[Block]:
        """All rows, in the order of the document."""
        text = ""
        for more in texts:
            text += more
            if len(text) >= self.piece:
                rest = yield from self._read(text)
                text = text[rest:]
        rest = yield from self._read(text)
        self.document.feed(text[rest:])
        yield from self.reader.take()

    def _read(self, text: str) -> Generator[Block, None, int]:
        """Reads row by row, or rather run of rows by run; returns where the last, incomplete one begins."""
        begin = 0
        while (at := text.find(self.words.row, begin)) >= 0:
            row_end = text.find(self.words.row_end, at)
            if row_end < 0:
                break
            row_end += len(self.words.row_end)
            is_in_info = self._read_head(text, begin, at)
            yield from self.reader.take()
            info = self._info(is_in_info=is_in_info)
            found = self._rows(text, at, info) if info else None
            block = self._block(text, at, found, info) if info and found else None
            begin = found.end if found else row_end
            if block:
                yield block
            else:
                self.document.feed(text[at:begin])
        end = begin if at >= 0 else max(begin, text.rfind("<"))
        if len(text) - end >= self.piece:  # no end in sight
            end = len(text)
        self.document.feed(text[begin:end])
        return end

    def _read_head(self, text: str, begin: int, end: int) -> bool:
        """Reads on to a row; true if it is known already that rows may follow."""
        named = self.counter_begin.search(text, begin, end)
        at = named.start() if named else end
        known = counters(text[at:end], self.words)
        if not known:
            self.document.feed(text[begin:end])
            return False
        self.document.feed(text[begin:at])
        if self._is_in_info() and self.reader.name_all(known.names, known.positions):
            self.document.places.hidden(text, at, end, known.lines)
            return True
        self.document.feed(text[at:end])
        return False

    def _is_in_info(self) -> bool:
        path = self.reader.path
        return bool(path) and path[-1] == self.words.info and self.document.is_between_elements()

    def _info(self, *, is_in_info: bool) -> Info | None:
        """The measInfo that rows may be taken for."""
        info = self.reader.info
        is_fit = info and 0 < len(info.names) <= MAX_COUNTERS and info.is_clear
        return info if is_fit and (is_in_info or self._is_in_info()) else None

    def _rows(self, text: str, at: int, info: Info) -> Found | None:
        return split(self.words, tuple(info.positions), text, at) or listed(self.words, text, at)

    def _block(self, text: str, at: int, found: Found, info: Info) -> Block | None:
        """The rows, taken out of the document; None when expat must look at them."""
        objects = [OBJECTS[row[0]] for row in found.rows]
        tails = [TAILS[row[-1]] for row in found.rows]
        if "" in objects or ("", 0) in tails:
            return None
        has_brackets = text.find("[", at, found.end) >= 0 or text.find("]", at, found.end) >= 0
        read = proof.listed if found.is_list else proof.split
        values = read(found.rows, len(info.names), has_brackets=has_brackets)
        if not values:
            return None
        if found.lines < 0 or not values.has_shape:
            ends = lines_in(text, at, found.end)
        else:
            ends = found.lines * len(objects) + sum(more for _, more in tails)
        self.document.places.hidden(text, at, found.end, ends)
        info.close(found.rows[0][0].strip(BLANKS))
        flags = [flag for flag, _ in tails]
        rows = zip(objects, flags, values.lines, strict=True)
        lines = [f"[{name},{flag},{cells}]" for name, flag, cells in rows]
        return Block(info.head, objects, lines, values.nulls, suspect=flags.count("1"))
