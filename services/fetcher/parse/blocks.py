"""Reads a document as blocks of rows: recognises its dialect by its content, then uses the fastest reader for it."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain

from services.fetcher.parse.block import MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.tables import delimited, profile
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.text import HEAD, XmlText, cut, is_xml
from services.fetcher.parse.xml.document import DialectReader, Document
from services.fetcher.parse.xml.measinfo import MeasInfoReader
from services.fetcher.parse.xml.measinfo_lane import PIECE_CHARACTERS, MeasInfoLane
from services.fetcher.parse.xml.omes import OmesReader
from services.fetcher.parse.xml.omes_lane import OmesLane
from services.fetcher.parse.xml.patterns import ROW_SYNTAXES

DIALECTS: dict[str, type[DialectReader]] = {
    "measCollecFile": MeasInfoReader,
    "measDataFile": MeasInfoReader,
    "MeasDataFile": MeasInfoReader,  # as 28.550 spells it
    "mdc": MeasInfoReader,
    "OMeS": OmesReader,
}
"""Root element, in any namespace -> reader of its dialect."""
_TAGS_BEFORE_ROOT = 64
"""Tags, processing instructions and comments before the root element that are fed one by one."""


@cache
def shipped() -> tuple[Profile, ...]:
    """Returns the profiles of vendors' tables that are part of pmflow."""
    return tuple(profile.read_profiles([profile.SHIPPED]))


def read_blocks(
    chunks: Iterable[bytes],
    *,
    fast: bool = True,
    piece: int = PIECE_CHARACTERS,
    profiles: Sequence[Profile] | None = None,
    file_name: str = "",
) -> Iterator[MeasInfoBlock]:
    """Yields the rows of a document, in its order, while it is read.

    A document that begins with "<" is XML; any other is a table whose header one of the profiles matches. Only when
    the iterator has ended is the document known to be complete.

    Args:
        chunks: the document's bytes.
        fast: use a fast lane where the dialect has one; otherwise expat alone.
        piece: about how many characters are processed at once.
        profiles: profiles of tables; by default those that are part of pmflow.
        file_name: the file's name; it contains the measurement group of some tables.

    Raises:
        BadFile: not a PM file, not well-formed, cut off, or beyond a limit; says where.
    """
    source, head = iter(chunks), b""
    while len(head) < HEAD and (chunk := next(source, None)) is not None:
        head += chunk
    whole = chain([head], source)
    if is_xml(head):
        text = XmlText(whole)
        document = Document(DIALECTS, lambda: text.problem)
        yield from _xml_blocks(document, cut(text, piece), fast=fast, piece=piece)
        if text.padding.note:
            yield MeasInfoBlock(MeasInfoHead(), [], [], 0, note=text.padding.note)
    else:
        yield from delimited.table_blocks(whole, shipped() if profiles is None else profiles, file_name)


def _xml_blocks(document: Document, source: Iterator[str], *, fast: bool, piece: int) -> Iterator[MeasInfoBlock]:
    rest = chain([_begin(document, source)], source)
    reader = document.reader
    syntax = ROW_SYNTAXES.get(document.root) if fast else None
    if syntax and isinstance(reader, MeasInfoReader):
        yield from MeasInfoLane(document, reader, syntax, piece).read(rest)
    elif fast and isinstance(reader, OmesReader):
        yield from OmesLane(document, reader, piece).read(rest)
    else:
        for text in rest:
            document.feed(text)
            yield from document.take()
    document.feed("", final=True)
    yield from document.take()


def _begin(document: Document, source: Iterator[str]) -> str:
    """Feeds the document tag by tag until its root element has begun; returns the text that was not fed."""
    for text in source:
        at = 0
        for _ in range(_TAGS_BEFORE_ROOT):
            if document.reader or at == len(text):
                break
            end = text.find(">", at) + 1 or len(text)
            document.feed(text[at:end])
            at = end
        if document.reader:
            return text[at:]
        document.feed(text[at:])
    return ""
