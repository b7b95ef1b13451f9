"""A PM file's document as blocks of rows: finds its dialect from its content, then reads it as fast as it can."""

from collections.abc import Iterable, Iterator
from itertools import chain

from services.fetcher.parse.block import Block
from services.fetcher.parse.document import Document, Reader
from services.fetcher.parse.lane import PIECE, Lane
from services.fetcher.parse.measinfo import MeasInfos
from services.fetcher.parse.omes import Omes
from services.fetcher.parse.patterns import LANES
from services.fetcher.parse.text import texts

DIALECTS: dict[str, type[Reader]] = {
    "measCollecFile": MeasInfos,
    "measDataFile": MeasInfos,
    "mdc": MeasInfos,
    "OMeS": Omes,
}
"""By the root element, whatever its namespace."""
_STEPS = 64
"""Tags before the root element that are looked at one by one."""


def blocks(chunks: Iterable[bytes], *, fast: bool = True, piece: int = PIECE) -> Iterator[Block]:
    """The rows of a document, in its order, while it is read; not `fast`: by expat alone. `piece`: characters at once.

    The document is known to be whole only when the iterator has ended.

    Raises:
        BadFile: no PM file, not well-formed, cut off, or beyond a limit; says where.
    """
    document = Document(DIALECTS)
    source = texts(chunks)
    rest = chain([_begin(document, source)], source)
    reader = document.reader
    words = LANES.get(document.root) if fast else None
    if words and isinstance(reader, MeasInfos):
        yield from Lane(document, reader, words, piece).read(rest)
    else:
        for text in rest:
            document.feed(text)
            yield from document.take()
    document.feed("", final=True)
    yield from document.take()


def _begin(document: Document, source: Iterator[str]) -> str:
    """Reads until the root element has begun, tag by tag; the text that was not read."""
    for text in source:
        at = 0
        for _ in range(_STEPS):
            if document.reader or at == len(text):
                break
            end = text.find(">", at) + 1 or len(text)
            document.feed(text[at:end])
            at = end
        if document.reader:
            return text[at:]
        document.feed(text[at:])
    return ""
