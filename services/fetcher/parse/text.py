"""Decodes the bytes of an XML document by its byte order mark or declaration, and tidies its beginning."""

import codecs
import re
from collections.abc import Iterable, Iterator

from services.fetcher.parse.bad_file import BadFile

HEAD = 4096
"""Number of bytes at the beginning that are enough to recognise the kind of document."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", 3),
    (codecs.BOM_UTF16_LE, "utf-16-le", 2),
    (codecs.BOM_UTF16_BE, "utf-16-be", 2),
    (b"<\0", "utf-16-le", 0),
    (b"\0<", "utf-16-be", 0),
)
"""First bytes of a document, the encoding they stand for, and how many of them are not text."""
_DECLARED = re.compile(rb"""<\?xml[ \t\r\n][^>]{0,200}?encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z0-9._:-]{1,40})["']""")
_IMPOSSIBLE = re.compile(r"utf-?16(?:[lb]e)?|ucs-?2|iso-10646-ucs-2|unicode", re.IGNORECASE)
"""Declarations that cannot be true, as the declaration itself was readable in ASCII: such a document is UTF-8."""
_KNOWN = re.compile(r"utf-8|ascii|iso8859-\d+|cp125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc_(?:jp|kr)")
_NO_CHARACTER = "\uffff"
"""Stands for undecodable bytes. XML forbids this character everywhere, so expat reports the error with its position."""

_BEFORE_DECLARATION = re.compile(
    r"((?:[ \t\r\n]|<\?(?!xml[ \t\r\n])[^?]*(?:\?+[^?>][^?]*)*\?+>)+)(<\?xml[ \t\r\n][^?]*\?>)"
)


def lines_in(text: str, begin: int = 0, end: int | None = None) -> int:
    """Counts line ends of any system, as XML does."""
    lines = text.count("\n", begin, end)
    if text.find("\r", begin, end) >= 0:
        lines += text.count("\r", begin, end) - text.count("\r\n", begin, end)
    return lines


def last_line_of(text: str, begin: int = 0, end: int | None = None) -> int:
    """Returns where the last line begins."""
    return max(text.rfind("\n", begin, end) + 1, text.rfind("\r", begin, end) + 1, begin)


def is_xml(head: bytes) -> bool:
    """Returns True if a document with this beginning is XML or blank; any other document is a table."""
    begin = head.lstrip(b" \t\r\n\0")[:3]
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if head.startswith(mark):
            begin = head[len(mark) :].lstrip(b" \t\r\n\0")
    return begin[:1] in (b"<", b"")


def texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yields the document's text piece by piece.

    Blanks and processing instructions before the XML declaration, which some elements write, are moved behind it.

    Raises:
        BadFile: the encoding is not supported, or the document is empty.
    """
    source = iter(chunks)
    head = b""
    while len(head) < HEAD and (chunk := next(source, None)) is not None:
        head += chunk
    if not head:
        raise BadFile("the document is empty")
    encoding, mark = _encoding(head)
    decoder = codecs.getincrementaldecoder(encoding)()
    start = _decoded(decoder, head[mark:], encoding)
    yield _BEFORE_DECLARATION.sub(r"\2\1", start, count=1) if _BEFORE_DECLARATION.match(start) else start
    for chunk in source:
        yield _decoded(decoder, chunk, encoding)
    yield _decoded(decoder, b"", encoding, final=True)


def cut(texts: Iterable[str], size: int) -> Iterator[str]:
    """Cuts the text into pieces of at most `size` characters."""
    for text in texts:
        for at in range(0, len(text), size):
            yield text[at : at + size]


def _encoding(head: bytes) -> tuple[str, int]:
    """Returns the encoding and the length of its byte order mark."""
    for mark, encoding, length in _MARKS:
        if head.startswith(mark):
            return encoding, length
    declared = _DECLARED.search(head, 0, 1024)
    name = declared[1].decode() if declared else "utf-8"
    if _IMPOSSIBLE.fullmatch(name):
        name = "utf-8"
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if not _KNOWN.fullmatch(encoding):
        raise BadFile(f"the encoding {name} is not supported", 1, 1)
    return encoding, 0


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, encoding: str, *, final: bool = False) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        return error.object[: error.start].decode(encoding) + _NO_CHARACTER
