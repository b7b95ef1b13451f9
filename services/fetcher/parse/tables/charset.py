"""Bytes of a table as text: tables declare no encoding. UTF-8, else what the profile says, else what they look like."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from services.fetcher.parse.bad_file import BadFile

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NO_CHARACTER = "\uffff"
"""Of bytes that fit no character; refused at its line."""
_SAMPLE = 1 << 16
"""Bytes by which the encoding is guessed, beginning with the first that is no UTF-8."""
_LONGEST = 4
"""Bytes of a character in UTF-8."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


class TableText:
    """The text of a table, piece by piece; what its encoding was is known when it was read.

    A file is read in one encoding: where other bytes follow characters that were UTF-8, they are none.
    """

    def __init__(self, chunks: Iterable[bytes], encoding: str = "") -> None:
        """`encoding`: of bytes that are no UTF-8; empty: it is guessed."""
        self.chunks = iter(chunks)
        self.given = encoding
        self.guess = ""
        """The encoding, where nobody named it and it is not UTF-8."""

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
            if len(rest) >= _LONGEST or (rest and not chunk):  # more than the begin of a character: none at all
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
    """As much as is UTF-8, and how many bytes that are."""
    try:
        return codecs.utf_8_decode(data, "strict", final)
    except UnicodeDecodeError as error:
        return data[: error.start].decode(), error.start


def _strict(source: Iterable[bytes], encoding: str) -> Iterator[str]:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise BadFile(f"encoding {encoding} is not known") from error
    for chunk in chain(filter(None, source), [b""]):
        try:
            yield decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode(encoding) + _NO_CHARACTER
            return


def _guess(sample: bytes) -> str:
    """gb18030, when a good part of what is beyond ASCII would be common Chinese words then; else cp1252.

    A letter with an accent between ASCII letters would make a rare character with its neighbour, if any at all.
    """
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    common = text.encode("gb2312", "ignore").decode("gb2312")
    in_words = sum(len(run) for run in _BEYOND_ASCII.findall(common) if len(run) > 1)
    return "gb18030" if in_words and 3 * in_words >= sum(map(len, _BEYOND_ASCII.findall(text))) else "cp1252"
