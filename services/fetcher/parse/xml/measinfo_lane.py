"""The fast lane of the measInfo dialects: takes the rows that it can prove out of the text; expat reads the rest.

Three proofs are needed. Expat itself proves that a row can begin here (`Document.is_between_elements`). A pattern,
compiled once for each list of p, proves that the text is a complete row with exactly the expected values. The grammar
of numbers, or a search, proves that the values contain no character with a meaning in XML. Without the rows, the
document is as well-formed, or as broken, as it was with them.
"""

import re
from collections.abc import Generator, Iterable, Iterator

from services.fetcher.parse.block import MeasInfoBlock
from services.fetcher.parse.text import lines_in
from services.fetcher.parse.values.cells import BLANKS
from services.fetcher.parse.xml import proof
from services.fetcher.parse.xml.document import Document
from services.fetcher.parse.xml.measinfo import MeasInfoReader
from services.fetcher.parse.xml.measured import MeasInfo
from services.fetcher.parse.xml.patterns import (
    MAX_COUNTERS,
    OBJECT_JSON,
    TAIL_PARTS,
    RowRun,
    RowSyntax,
    counter_run,
    find_list_rows,
    find_value_rows,
)

PIECE_CHARACTERS = 1 << 18
"""About how many characters are processed at once; this much text and its rows are in memory."""


class MeasInfoLane:
    """Reads the rest of a document whose beginning was fed to expat."""

    def __init__(self, document: Document, reader: MeasInfoReader, syntax: RowSyntax, piece: int) -> None:
        self.document = document
        self.reader = reader
        self.syntax = syntax
        self.piece = piece
        self.counter_begin = re.compile(syntax.counter_begin)

    def read(self, texts: Iterable[str]) -> Iterator[MeasInfoBlock]:
        """Yields all rows in the order of the document."""
        text = ""
        for more in texts:
            text += more
            if len(text) >= self.piece:
                rest = yield from self._read(text)
                text = text[rest:]
        rest = yield from self._read(text)
        self.document.feed(text[rest:])
        yield from self.reader.take()

    def _read(self, text: str) -> Generator[MeasInfoBlock, None, int]:
        """Reads one run of rows after the other; returns where the last, incomplete row begins."""
        begin = 0
        while (at := text.find(self.syntax.row, begin)) >= 0:
            row_end = text.find(self.syntax.row_end, at)
            if row_end < 0:
                break
            row_end += len(self.syntax.row_end)
            is_in_info = self._read_before_row(text, begin, at)
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
        if len(text) - end >= self.piece:  # a token of this length is left to expat
            end = len(text)
        self.document.feed(text[begin:end])
        return end

    def _read_before_row(self, text: str, begin: int, end: int) -> bool:
        """Reads the text in front of a row; returns True if this proved already that rows may follow."""
        named = self.counter_begin.search(text, begin, end)
        at = named.start() if named else end
        known = counter_run(text[at:end], self.syntax)
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
        return bool(path) and path[-1] in self.syntax.infos and self.document.is_between_elements()

    def _info(self, *, is_in_info: bool) -> MeasInfo | None:
        """Returns the open measInfo if rows may begin here and the lane can read them."""
        info = self.reader.info
        is_fit = info and 0 < len(info.names) <= MAX_COUNTERS and info.is_clear and not info.suspect
        return info if is_fit and (is_in_info or self._is_in_info()) else None

    def _rows(self, text: str, at: int, info: MeasInfo) -> RowRun | None:
        return find_value_rows(self.syntax, tuple(info.positions), text, at) or find_list_rows(self.syntax, text, at)

    def _block(self, text: str, at: int, found: RowRun, info: MeasInfo) -> MeasInfoBlock | None:
        """Takes the rows out of the document and returns them; None if expat must read them."""
        objects = [OBJECT_JSON[row[0]] for row in found.rows]
        tails = [TAIL_PARTS[row[-1]] for row in found.rows]
        if "" in objects or ("", 0) in tails:
            return None
        has_brackets = text.find("[", at, found.end) >= 0 or text.find("]", at, found.end) >= 0
        read = proof.prove_list_rows if found.is_list else proof.prove_value_rows
        values = read(found.rows, len(info.names), has_brackets=has_brackets)
        if not values:
            return None
        if found.lines < 0 or not values.are_single_line:
            ends = lines_in(text, at, found.end)
        else:
            ends = found.lines * len(objects) + sum(more for _, more in tails)
        self.document.places.hidden(text, at, found.end, ends)
        info.close(found.rows[0][0].strip(BLANKS))
        flags = [flag for flag, _ in tails]
        rows = zip(objects, flags, values.lines, strict=True)
        lines = [f"[{name},{flag},{cells}]" for name, flag, cells in rows]
        return MeasInfoBlock(info.head, objects, lines, values.nulls, suspect=flags.count("1"))
