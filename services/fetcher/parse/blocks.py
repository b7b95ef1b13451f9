"""A PM file's document as blocks of rows: finds its dialect from its content, then reads it as fast as it can."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain

from services.fetcher.parse.block import Block
from services.fetcher.parse.tables import delimited, profile
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.text import HEAD, cut, is_xml, texts
from services.fetcher.parse.xml.document import Document, Reader
from services.fetcher.parse.xml.measinfo import MeasInfos
from services.fetcher.parse.xml.measinfo_lane import PIECE, Lane
from services.fetcher.parse.xml.omes import Omes
from services.fetcher.parse.xml.omes_lane import OmesLane
from services.fetcher.parse.xml.patterns import LANES

DIALECTS: dict[str, type[Reader]] = {
    "measCollecFile": MeasInfos,
    "measDataFile": MeasInfos,
    "MeasDataFile": MeasInfos,  # as 28.550 spells it
    "mdc": MeasInfos,
    "OMeS": Omes,
}
"""By the root element, whatever its namespace."""
_STEPS = 64
"""Tags before the root element that are looked at one by one."""


@cache
def shipped() -> tuple[Profile, ...]:
    """The profiles of vendors' tables that come with pmflow."""
    return tuple(profile.read([profile.SHIPPED]))


def blocks(
    chunks: Iterable[bytes],
    *,
    fast: bool = True,
    piece: int = PIECE,
    profiles: Sequence[Profile] | None = None,
    file_name: str = "",
) -> Iterator[Block]:
    """The rows of a document, in its order, while it is read; not `fast`: by expat alone. `piece`: characters at once.

    What begins with "<" is XML, all else a table whose header one of the profiles (the shipped ones unless given)
    knows. The document is known to be whole only when the iterator has ended.

    Raises:
        BadFile: no PM file, not well-formed, cut off, or beyond a limit; says where.
    """
    source, head = iter(chunks), b""
    while len(head) < HEAD and (chunk := next(source, None)) is not None:
        head += chunk
    whole = chain([head], source)
    if is_xml(head):
        yield from _of_xml(cut(texts(whole), piece), fast=fast, piece=piece)
    else:
        yield from delimited.blocks(whole, shipped() if profiles is None else profiles, file_name)


def _of_xml(source: Iterator[str], *, fast: bool, piece: int) -> Iterator[Block]:
    document = Document(DIALECTS)
    rest = chain([_begin(document, source)], source)
    reader = document.reader
    words = LANES.get(document.root) if fast else None
    if words and isinstance(reader, MeasInfos):
        yield from Lane(document, reader, words, piece).read(rest)
    elif fast and isinstance(reader, Omes):
        yield from OmesLane(document, reader, piece).read(rest)
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
