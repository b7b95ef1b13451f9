"""Decodes tables, which declare no encoding: as UTF-8, else as the profile says, else as they look like."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.text import NO_CHARACTER, likely_encoding

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SAMPLE = 1 << 18
"""Number of bytes that decide the encoding, beginning with the first that is not ASCII."""
_TWO_BYTES = "\u07ff"
"""The last character that UTF-8 writes in two bytes, as double-byte encodings write all of theirs."""
_LONGEST_MARKS = 12


class TableText:
    """Iterates over the text of a table, piece by piece; its encoding is known at the end.

    A file is read in one encoding. It is chosen by the first bytes that are not ASCII; bytes that it does not have are
    undecodable.
    """

    def __init__(self, chunks: Iterable[bytes], encoding: str = "") -> None:
        """Args: encoding: the encoding of tables that are not UTF-8; empty: it is guessed."""
        self.chunks = iter(chunks)
        self.given = encoding
        self.guess = ""
        """The guessed encoding; empty if the table is UTF-8 or its encoding was given."""
        self.encoding = "utf-8"
        """The encoding in which the text is read."""

    def __iter__(self) -> Iterator[str]:
        """Raises BadFile: the table is in UTF-32, or in UTF-16 without a byte order mark."""
        head = b""
        while len(head) < _LONGEST_MARKS and (chunk := next(self.chunks, None)) is not None:
            head += chunk
        mark, encoding = next(((m, e) for m, e in _MARKS if head.startswith(m)), (b"", ""))
        if self.given and codecs.lookup(self.given).name.startswith(("utf-16", "utf-32")):
            return self._strict(chain([head[len(mark) :]], self.chunks), encoding or self.given)
        if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            raise BadFile("the encoding utf-32 is not supported", 1, 1)
        if not mark and (head[1:8:2].count(0) > 2 or head[0:8:2].count(0) > 2):
            raise BadFile("the bytes look like UTF-16 without a byte order mark, which is not supported", 1, 1)
        while mark and head.startswith(mark):
            head = head[len(mark) :]
        source = chain([head], self.chunks)
        return self._strict(source, encoding) if encoding else self._unmarked(source)

    def _unmarked(self, source: Iterator[bytes]) -> Iterator[str]:
        for chunk in source:
            if chunk.isascii():
                yield chunk.decode()
                continue
            begin = len(chunk) - len(chunk.lstrip(_ASCII))
            yield chunk[:begin].decode()
            sample = chunk[begin:]
            while len(sample) < _SAMPLE and (more := next(source, None)) is not None:
                sample += more
            encoding = self._chosen(sample[:_SAMPLE], is_whole=len(sample) < _SAMPLE)
            yield from self._strict(chain([sample], source), encoding)

    def _chosen(self, sample: bytes, *, is_whole: bool) -> str:
        """Returns the encoding of a table of which these are the first bytes that are not ASCII.

        Double-byte encodings have pairs of bytes that are valid UTF-8 by chance, but hardly a file of nothing else.
        """
        text, read = _utf_8(sample, is_whole=is_whole)
        has_only_pairs = max(text, default="") <= _TWO_BYTES
        if read:
            return self.given if has_only_pairs and _is_double_byte(self.given) else "utf-8"
        if self.given:
            return self.given
        likely = likely_encoding(sample)
        if not (text.isascii() or (has_only_pairs and likely == "gb18030")):
            return "utf-8"  # and then another encoding, in which the beginning would be read wrongly
        self.guess = likely
        return likely

    def _strict(self, source: Iterable[bytes], encoding: str) -> Iterator[str]:
        self.encoding = encoding
        decoder = codecs.getincrementaldecoder(encoding)()
        for chunk in chain(filter(None, source), [b""]):
            try:
                yield decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                yield error.object[: error.start].decode(encoding) + NO_CHARACTER
                return


_ASCII = bytes(range(128))


def _utf_8(sample: bytes, *, is_whole: bool) -> tuple[str, bool]:
    """Decodes the leading bytes that are UTF-8; returns their text, and True if these are all bytes."""
    try:
        return codecs.utf_8_decode(sample, "strict", is_whole)[0], True
    except UnicodeDecodeError as error:
        return sample[: error.start].decode(), False


def _is_double_byte(encoding: str) -> bool:
    return bool(encoding) and len(b"\xd0\xa1".decode(encoding, "replace")) == 1
