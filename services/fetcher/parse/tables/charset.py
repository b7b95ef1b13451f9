"""Decodes tables, which declare no encoding: as UTF-8, else as the profile says, else as they look like."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from services.fetcher.parse.bad_file import BadFile

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NO_CHARACTER = "\uffff"
"""Stands for undecodable bytes; the line that holds it is refused."""
_SAMPLE = 1 << 16
"""Number of bytes by which the encoding is guessed, beginning with the first that is not UTF-8."""
_LONGEST = 4
"""Maximum number of bytes of a character in UTF-8."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


class TableText:
    """Iterates over the text of a table, piece by piece; its encoding is known at the end.

    A file is read in one encoding: if it began with non-ASCII UTF-8 characters, other bytes are undecodable.
    """

    def __init__(self, chunks: Iterable[bytes], encoding: str = "") -> None:
        """Args: encoding: the encoding of tables that are not UTF-8; empty: it is guessed."""
        self.chunks = iter(chunks)
        self.given = encoding
        self.guess = ""
        """The guessed encoding; empty if the table is UTF-8 or its encoding was given."""

    def __iter__(self) -> Iterator[str]:
        head = b""
        while len(head) < len(codecs.BOM_UTF8) and (chunk := next(self.chunks, None)) is not None:
            head += chunk
        mark, encoding = next(((m, e) for m, e in _MARKS if head.startswith(m)), (b"", ""))
        source = chain([head[len(mark) :]], self.chunks)
        return _strict(source, encoding) if encoding else self._unmarked(source)

    def _unmarked(self, source: Iterator[bytes]) -> Iterator[str]:
        is_ascii, rest = True, b""
        for chunk in chain(filter(None, source), [b""]):  # the empty one is the end
            data = rest + chunk
            text, read = _utf8(data, final=not chunk)
            is_ascii = is_ascii and text.isascii()
            yield text
            rest = data[read:]
            if len(rest) >= _LONGEST or (rest and not chunk):  # not the begin of a character that is continued
                other = self._other(source, rest) if is_ascii else iter([_NO_CHARACTER])
                yield from other
                return

    def _other(self, source: Iterator[bytes], rest: bytes) -> Iterator[str]:
        sample = rest
        while len(sample) < _SAMPLE and (chunk := next(source, None)) is not None:
            sample += chunk
        encoding = self.given
        if not encoding:
            encoding = self.guess = _guess(sample[:_SAMPLE])
        yield from _strict(chain([sample], source), encoding)


def _utf8(data: bytes, *, final: bool) -> tuple[str, int]:
    """Decodes the leading bytes that are UTF-8; returns their text and their number."""
    try:
        return codecs.utf_8_decode(data, "strict", final)
    except UnicodeDecodeError as error:
        return data[: error.start].decode(), error.start


def _strict(source: Iterable[bytes], encoding: str) -> Iterator[str]:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise BadFile(f"the encoding {encoding} is not known") from error
    for chunk in chain(filter(None, source), [b""]):
        try:
            yield decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode(encoding) + _NO_CHARACTER
            return


def _guess(sample: bytes) -> str:
    """Returns gb18030 if it decodes many of the non-ASCII bytes to runs of common Chinese characters, else cp1252.

    In gb18030, an accented letter between ASCII letters and its neighbour make a rare character, if any.
    """
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    common = text.encode("gb2312", "ignore").decode("gb2312")
    in_words = sum(len(run) for run in _BEYOND_ASCII.findall(common) if len(run) > 1)
    return "gb18030" if in_words and 3 * in_words >= sum(map(len, _BEYOND_ASCII.findall(text))) else "cp1252"
