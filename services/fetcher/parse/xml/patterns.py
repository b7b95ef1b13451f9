"""Patterns for the parts of a document that are the same thousands of times: counters' names, and rows of values."""

import re
from dataclasses import dataclass
from functools import lru_cache

from services.fetcher.parse.text import lines_in
from services.fetcher.parse.values.cells import BLANKS, quoted
from services.fetcher.parse.values.memo import Memo
from services.fetcher.parse.values.rows import is_suspect

MAX_COUNTERS = 2000
"""Of a measInfo; the pattern of a wider one would take too long to compile."""

MARKUP = re.compile(r"[&>\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""In text without "<": entities, the end of CDATA, line ends to be normalised, what XML forbids."""
_MARKUP_IN_NAME = re.compile(r"[<&>\x00-\x1f\ufffe\uffff]")

Groups = tuple[str, ...]
"""What a row's pattern found: the object, the values, the tail."""

_WS = r"[ \t\r\n]*+"


@dataclass(frozen=True, slots=True)
class Words:
    """The few words in which the dialects differ, as patterns; white space of the layout stands as {0}, {1}."""

    info: str
    info_end: str
    row: str
    row_end: str
    opening: str
    """Up to the first value; its only group is the object."""
    tail: str
    """Behind the last value."""
    counter_begin: str
    counter: str
    """A counter's name with its p, if it has one."""
    results: str
    """All values in one element; empty in dialects without."""


MEASVALUE = Words(
    info="measInfo",
    info_end="</measInfo>",
    row="<measValue ",
    row_end="</measValue>",
    opening='<measValue measObjLdn="([^"]*+)">{0}',
    tail=rf"({_WS}(?:<suspect>[^<]*+</suspect>{_WS})?+</measValue>{_WS})",
    counter_begin="<measType ",
    counter=rf'<measType p="([1-9]\d{{0,8}})">([^<]*+)</measType>{_WS}',
    results="<measResults>([^<]*+)</measResults>",
)
MV = Words(
    info="mi",
    info_end="</mi>",
    row="<mv>",
    row_end="</mv>",
    opening="<mv>{0}<moid>([^<]*+)</moid>{1}",
    tail=rf"({_WS}(?:<sf>[^<]*+</sf>{_WS})?+</mv>{_WS})",
    counter_begin="<mt[ >]",
    counter=rf'<mt(?: p="([1-9]\d{{0,8}})")?+>([^<]*+)</mt>{_WS}',
    results="",
)
LANES = {"measCollecFile": MEASVALUE, "measDataFile": MEASVALUE, "MeasDataFile": MEASVALUE, "mdc": MV}
"""By the root element."""


@dataclass(frozen=True, slots=True)
class Counters:
    """A run of counters' names."""

    names: tuple[str, ...]
    positions: tuple[str, ...]
    lines: int


@lru_cache(512)
def counters(text: str, words: Words) -> Counters | None:
    """What the text names; None when it is anything else than such a run."""
    found = _run(re.compile(words.counter), text)
    names = tuple(match[2].strip(BLANKS) for match in found)
    if not 0 < len(found) <= MAX_COUNTERS or found[-1].end() < len(text) or any(MARKUP.search(name) for name in names):
        return None
    return Counters(names, tuple(match[1] or str(at) for at, match in enumerate(found, 1)), lines_in(text))


@dataclass(frozen=True, slots=True)
class Found:
    """Rows in the text, one behind the other."""

    rows: list[Groups]
    end: int
    lines: int = -1
    """Line ends in a row up to its tail, values left aside; -1 where rows may differ."""
    is_list: bool = False


def listed(words: Words, text: str, at: int) -> Found | None:
    """The rows from there on that hold all their values in one list."""
    return _found(_list_pattern(words), text, at, is_list=True) if words.results else None


def split(words: Words, positions: tuple[str, ...], text: str, at: int) -> Found | None:
    """The rows from there on with an element for each value; a value that is left out is a blank."""
    layout = _layout_pattern(words).match(text, at)
    if not layout:
        return None
    *spaces, has_p, gap = layout.groups()
    pattern = _row_pattern(words, positions if has_p else ("",) * len(positions), (*spaces, gap))
    lines = sum(map(lines_in, spaces)) + lines_in(gap) * (len(positions) - 1)
    return _found(pattern, text, at, lines) or _found(_sparse_pattern(words, positions), text, at)


def _found(pattern: re.Pattern[str], text: str, at: int, lines: int = -1, *, is_list: bool = False) -> Found | None:
    matches = _run(pattern, text, at)
    if not matches:
        return None
    return Found([match.groups(" ") for match in matches], matches[-1].end(), lines, is_list)


def _run(pattern: re.Pattern[str], text: str, at: int = 0) -> list[re.Match[str]]:
    """Matches of the pattern, each where the one before ended."""
    scanner = pattern.scanner(text, at)  # type: ignore[attr-defined] # undocumented, and twice as fast
    return list(iter(scanner.match, None))


@lru_cache(8)
def _layout_pattern(words: Words) -> re.Pattern[str]:
    """Finds a row's layout: the white space before the first value and between values, and whether values have a p."""
    opening = words.opening.replace("(", "(?:").format(f"({_WS})", f"({_WS})")
    return re.compile(rf"{opening}<r( p=)?[^>]*+>(?:[^<]*+</r>)?({_WS})<")


@lru_cache(512)
def _row_pattern(words: Words, positions: tuple[str, ...], layout: tuple[str, ...]) -> re.Pattern[str]:
    """A row of all its values in just this layout; a position without a name stands for a value without a p."""
    values = (f'<r p="{re.escape(p)}">([^<]*+)</r>' if p else "<r>([^<]*+)</r>" for p in positions)
    *spaces, gap = map(re.escape, layout)
    return re.compile(words.opening.format(*spaces) + gap.join(values) + words.tail)


@lru_cache(512)
def _sparse_pattern(words: Words, positions: tuple[str, ...]) -> re.Pattern[str]:
    """A row that may leave values out, in any layout."""
    values = (f'(?><r p="{p}">([^<]*+)</r>{_WS}|<r p="{p}" ?/>{_WS}|)' for p in map(re.escape, positions))
    return re.compile(words.opening.format(_WS, _WS) + "".join(values) + words.tail)


@lru_cache(8)
def _list_pattern(words: Words) -> re.Pattern[str]:
    return re.compile(words.opening.format(_WS, _WS) + words.results + words.tail)


def _object(text: str) -> str:
    return "" if _MARKUP_IN_NAME.search(text) else quoted(text.strip(BLANKS))


def _tail(text: str) -> tuple[str, int]:
    content = text.partition("</")[0].partition(">")[2]
    return ("", 0) if MARKUP.search(content) else ("1" if is_suspect(content) else "0", lines_in(text))


OBJECTS = Memo(_object)
"""The object of a row in JSON; empty where expat must look."""
TAILS = Memo(_tail)
"""What stands behind a row's values: the flag for suspect (empty where expat must look), and how many line ends."""
