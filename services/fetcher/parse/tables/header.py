"""Finds the header of a table: its line, its delimiter, and the profile that knows its columns."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import IncrementalNewlineDecoder
from itertools import chain

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.tables.profile import Layout, Profile, layout_of
from services.fetcher.parse.text import NO_CHARACTER

LINES = 40
"""The header must be among this many first lines."""
MAX_LINE = 4 << 20
"""Maximum length of a line in characters."""
_FORBIDDEN = re.compile(rf"[\x00-\x08\x0e-\x1f{NO_CHARACTER}]")


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a profile knows."""

    at: int
    """Number of lines above it."""
    names: list[str]
    """Names of all columns, as they are written."""
    delimiter: str
    layout: Layout


def header_of(lines: Sequence[str], profiles: Sequence[Profile]) -> Header:
    """Returns the first line that a profile knows, read by the profile and delimiter that know most of its columns.

    Raises:
        BadFile: no profile knows any of the lines; shows the line with the most columns.
    """
    for at, line in enumerate(lines):
        if fitting := list(_fitting(line, at, profiles)):
            return max(fitting, key=lambda header: header.layout.claimed)  # the first of several
    if not lines:
        raise BadFile("the document is empty")
    known = ", ".join(profile.name for profile in profiles)
    what = f"neither XML nor a table whose header matches a profile ({known})"
    at, line = max(enumerate(lines, 1), key=lambda numbered: _columns(numbered[1]))
    raise BadFile(f"{what}; the most likely header: {line.strip()[:300]!r}" if _columns(line) else what, at, 1)


def _columns(line: str) -> int:
    return max(map(line.count, ",;\t|"))


def _fitting(line: str, at: int, profiles: Sequence[Profile]) -> Iterator[Header]:
    for profile in profiles:
        for delimiter in profile.delimiters:
            if delimiter in line:
                names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
                if layout := layout_of(names, profile):
                    yield Header(at, names, delimiter, layout)


def lines_of(texts: Iterable[str], undecodable: Callable[[], str] = lambda: "undecodable bytes") -> Iterator[str]:
    """Yields the lines of a text, each with its end converted to a line feed.

    Args:
        texts: the text, piece by piece.
        undecodable: returns a description of the bytes for which the text has NO_CHARACTER.

    Raises:
        BadFile: a line is too long, or contains an undecodable byte or a control character.
    """
    rest, number = "", 0
    line_ends = IncrementalNewlineDecoder(None, translate=True)
    for text in chain(texts, [None]):  # a carriage return may be the last of a piece
        *whole, rest = (rest + line_ends.decode(text or "", final=text is None)).split("\n")
        for line in whole:
            number += 1
            yield _checked(line, number, undecodable) + "\n"
        if len(rest) > MAX_LINE:
            raise BadFile(f"a line is longer than {MAX_LINE} characters", number + 1)
    if rest:
        yield _checked(rest, number + 1, undecodable)


def _checked(line: str, number: int, undecodable: Callable[[], str]) -> str:
    if found := _FORBIDDEN.search(line):
        what = undecodable() if found[0] == NO_CHARACTER else "a control character"
        raise BadFile(what, number, found.start() + 1)
    return line
