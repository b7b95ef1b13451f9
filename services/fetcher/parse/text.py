"""Bytes of a document as text: its encoding by byte order mark or declaration, and a clean start."""

import codecs
import re
from collections.abc import Iterable, Iterator

from services.fetcher.parse.bad_file import BadFile

_HEAD = 4096
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(rb"""<\?xml[ \t\r\n][^>]{0,200}?encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z0-9._:-]{1,40})["']""")
_KNOWN = re.compile(r"utf-8|ascii|iso8859-\d+|cp125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc_(?:jp|kr)")
_NO_CHARACTER = "\uffff"
"""XML refuses it everywhere: so bytes that fit no character are an error of the document, with a place."""

_BEFORE_DECLARATION = re.compile(
    r"((?:[ \t\r\n]|<\?(?!xml[ \t\r\n])[^?]*(?:\?+[^?>][^?]*)*\?+>)+)(<\?xml[ \t\r\n][^?]*\?>)"
)


def lines_in(text: str, begin: int = 0, end: int | None = None) -> int:
    """Line ends, as XML counts them: of any system."""
    lines = text.count("\n", begin, end)
    if text.find("\r", begin, end) >= 0:
        lines += text.count("\r", begin, end) - text.count("\r\n", begin, end)
    return lines


def last_line_of(text: str, begin: int = 0, end: int | None = None) -> int:
    """Where the last line begins."""
    return max(text.rfind("\n", begin, end) + 1, text.rfind("\r", begin, end) + 1, begin)


def texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """The document's text, piece by piece.

    Blanks and processing instructions before the XML declaration, as some elements write them, are put behind it.

    Raises:
        BadFile: an encoding nobody knows, or an empty document.
    """
    source = iter(chunks)
    head = b""
    while len(head) < _HEAD and (chunk := next(source, None)) is not None:
        head += chunk
    if not head:
        raise BadFile("empty")
    encoding, mark = _encoding(head)
    decoder = codecs.getincrementaldecoder(encoding)()
    start = _decoded(decoder, head[mark:], encoding)
    yield _BEFORE_DECLARATION.sub(r"\2\1", start, count=1) if _BEFORE_DECLARATION.match(start) else start
    for chunk in source:
        yield _decoded(decoder, chunk, encoding)
    yield _decoded(decoder, b"", encoding, final=True)


def _encoding(head: bytes) -> tuple[str, int]:
    """The encoding, and how many bytes its mark takes."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    declared = _DECLARED.search(head, 0, 1024)
    name = declared[1].decode() if declared else "utf-8"
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if not _KNOWN.fullmatch(encoding):
        raise BadFile(f"encoding {name} is not supported", 1, 1)
    return encoding, 0


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, encoding: str, *, final: bool = False) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        return error.object[: error.start].decode(encoding) + _NO_CHARACTER
