"""Decodes the bytes of an XML document by its byte order mark or declaration, and tidies its beginning."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

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
NO_CHARACTER = "\uffff"
"""Stands for undecodable bytes. XML forbids this character everywhere, so expat reports the error with its position."""
_BOM = "\ufeff"
_PADDING_AND_BLANKS = "\0\x1a \t\r\n"
_PADDING_START = re.compile("[\0\x1a]")
"""Matches the characters with which some systems fill up the last block of a file."""
_BEFORE_DECLARATION = re.compile(
    r"((?:[ \t\r\n]|<!--(?:[^-]|-[^-])*+-->|<\?(?!xml[ \t\r\n])[^?]*+(?:\?++[^?>][^?]*+)*+\?++>)++)"
    r"(<\?xml[ \t\r\n][^?]*+\?>)"
)
_DECLARATION = re.compile(rb"<\?xml[ \t\r\n][^?]*+\?>")
_LONGEST_PREFIX = 1 << 16
"""Bytes before the XML declaration that are searched for it, if the document begins with a comment or instruction."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def likely_encoding(sample: bytes) -> str:
    """Returns the likely encoding of bytes that are not UTF-8.

    It is gb18030 if that decodes many of the non-ASCII bytes to runs of common Chinese characters, else cp1252. In
    gb18030, an accented letter between ASCII letters and its neighbour make a rare character, if any.
    """
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    common = text.encode("gb2312", "ignore").decode("gb2312")
    in_words = sum(len(run) for run in _BEYOND_ASCII.findall(common) if len(run) > 1)
    return "gb18030" if in_words and 3 * in_words >= sum(map(len, _BEYOND_ASCII.findall(text))) else "cp1252"


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
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        head = head.removeprefix(mark)
    while head.startswith(codecs.BOM_UTF8):
        head = head.removeprefix(codecs.BOM_UTF8)
    return head.lstrip(b" \t\r\n\0")[:1] in (b"<", b"")


class XmlText:
    """Iterates over a document's text piece by piece; what is odd about its bytes is known at the end.

    Comments, blanks and processing instructions before the XML declaration, which some elements write, are moved behind
    it. Marks of the byte order may be repeated.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.problem = ""
        """A description of the bytes that could not be decoded, for which the text has NO_CHARACTER."""
        self.padding = Padding()

    def __iter__(self) -> Iterator[str]:
        """Raises BadFile: the encoding is not supported, or the document is empty."""
        return self.padding.removed(self._decoded())

    def _decoded(self) -> Iterator[str]:
        head = b""
        while len(head) < _head_bytes(head) and (chunk := next(self.chunks, None)) is not None:
            head += chunk
        if not head:
            raise BadFile("the document is empty")
        encoding, mark, how = _encoding(head)
        decoder = codecs.getincrementaldecoder(encoding)()
        is_first = True
        for chunk in chain([head[mark:]], self.chunks, [b""]):
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                self.problem = _undecodable(error, encoding, how)
                yield error.object[: error.start].decode(encoding) + NO_CHARACTER
                return
            yield _tidied(text) if is_first else text
            is_first = is_first and not text


def _head_bytes(head: bytes) -> int:
    """Returns the number of bytes from which the beginning of a document with this head can be understood."""
    start = head.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n")
    is_prefixed = start.startswith((b"<!--", b"<?")) and not start.startswith(b"<?xml")
    return _LONGEST_PREFIX if is_prefixed and not _DECLARATION.search(head) else HEAD


def _tidied(start: str) -> str:
    start = start.lstrip(_BOM)
    return _BEFORE_DECLARATION.sub(r"\2\1", start, count=1) if _BEFORE_DECLARATION.match(start) else start


def _undecodable(error: UnicodeDecodeError, encoding: str, how: str) -> str:
    what = f"bytes that are not {encoding}, {how}"
    if encoding != "utf-8":
        return what
    likely = likely_encoding(error.object[error.start : error.start + HEAD])
    return f"{what}; they look like {'latin-1 or cp1252' if likely == 'cp1252' else likely}"


class Padding:
    """Removes padding, such as NUL bytes, behind the end of a text."""

    def __init__(self) -> None:
        self.size = 0
        """Number of padding characters at the end, known at the end."""

    def removed(self, texts: Iterable[str]) -> Iterator[str]:
        """Yields the text without the padding; of padding within the text, the first character remains."""
        first = ""
        for text in texts:
            if first and not text.strip(_PADDING_AND_BLANKS):
                self.size += len(text)
                continue
            yield first
            first, self.size = "", 0
            begin = _PADDING_START.search(text, len(text.rstrip(_PADDING_AND_BLANKS)))
            if begin:
                first, self.size = begin[0], len(text) - begin.start()
            yield text[: begin.start()] if begin else text

    @property
    def note(self) -> str:
        """A remark for the operator; empty if there was no padding."""
        return f"{self.size} padding bytes behind the end" if self.size else ""


def cut(texts: Iterable[str], size: int) -> Iterator[str]:
    """Cuts the text into pieces of at most `size` characters."""
    for text in texts:
        for at in range(0, len(text), size):
            yield text[at : at + size]


def _encoding(head: bytes) -> tuple[str, int, str]:
    """Returns the encoding, the length of its byte order mark, and the reason to assume it."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, b"<\0\0\0")):
        raise BadFile("the encoding utf-32 is not supported", 1, 1)
    for mark, encoding, length in _MARKS:
        if head.startswith(mark):
            return encoding, length, "as its first bytes say"
    declared = _DECLARED.search(head, 0, max(1024, found.end() if (found := _DECLARATION.search(head)) else 0))
    name = declared[1].decode() if declared else "utf-8"
    if _IMPOSSIBLE.fullmatch(name):
        name = "utf-8"
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if not _KNOWN.fullmatch(encoding):
        raise BadFile(f"the encoding {name} is not supported", 1, 1)
    return encoding, 0, "as declared" if declared else "which is assumed without a declaration"
