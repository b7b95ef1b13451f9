"""Regular expressions for the parts of a document that are repeated thousands of times: counter names and rows."""

import re
from dataclasses import dataclass
from functools import lru_cache

from services.fetcher.parse.text import lines_in
from services.fetcher.parse.values.cells import BLANKS, json_string
from services.fetcher.parse.values.memo import Memo
from services.fetcher.parse.values.rows import is_suspect

MAX_COUNTERS = 2000
"""Maximum number of counters of a measInfo; the pattern of a wider one would take too long to compile."""

MARKUP = re.compile(r"[&>\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""Finds what makes a text without "<" more than its characters.

Entities, the end of CDATA, line ends to be normalised, and characters that XML forbids.
"""
_MARKUP_IN_NAME = re.compile(r"[<&>\x00-\x1f\ufffe\uffff]")

RowGroups = tuple[str, ...]
"""The groups of a row's pattern: the object, the values, the tail."""

_WS = r"[ \t\r\n]*+"


@dataclass(frozen=True, slots=True)
class RowSyntax:
    """The syntax of counter names and rows in one family of dialects, as parts of regular expressions.

    A row's pattern is `opening`, the values, and `tail`, one behind the other. This row of two values

        <measValue measObjLdn="Cell=1"> <r p="1">5</r> <r p="2">7</r> <suspect>true</suspect></measValue>

    is split so:

        opening   <measValue measObjLdn="Cell=1"> and the blank behind it
        values    <r p="1">5</r> <r p="2">7</r>
        tail      everything from the blank in front of <suspect> on

    >>> row = '<measValue measObjLdn="Cell=1"> <r p="1">5</r> <r p="2">7</r> <suspect>true</suspect></measValue>'
    >>> find_value_rows(MEASVALUE, ("1", "2"), row, 0).rows
    [('Cell=1', '5', '7', ' <suspect>true</suspect></measValue>')]
    """

    infos: tuple[str, ...]
    """Tags of a measInfo."""
    row: str
    """First characters of a row."""
    row_end: str
    opening: str
    """Everything up to the first value, with {object} for the object and {0}, {1} for the white space; see `opened`."""
    object: str
    """The text of the object."""
    tail: str
    """Everything behind the last value; its only group is the whole tail."""
    counter_begin: str
    counter: str
    """A counter's name; its groups are the p, which may be missing, and the name."""
    results: str
    """All values in one element; empty in dialects without such an element."""

    def opened(self, *spaces: str, is_object_captured: bool = True) -> str:
        """Returns the pattern of an opening with these patterns for its white space.

        >>> MV.opened(" ", "")
        '<mv> <moid>([^<]*+)</moid>'
        """
        return self.opening.format(*spaces, object=f"({self.object})" if is_object_captured else self.object)


MEASVALUE = RowSyntax(
    infos=("measInfo",),
    row="<measValue ",
    row_end="</measValue>",
    opening='<measValue measObjLdn="{object}">{0}',
    object='[^"]*+',
    tail=rf"({_WS}(?:<suspect>[^<]*+</suspect>{_WS})?+</measValue>{_WS})",
    counter_begin="<measType ",
    counter=rf'<measType p="([1-9]\d{{0,8}})">([^<]*+)</measType>{_WS}',
    results="<measResults>([^<]*+)</measResults>",
)
MV = RowSyntax(
    infos=("mi", "ms"),
    row="<mv>",
    row_end="</mv>",
    opening="<mv>{0}<moid>{object}</moid>{1}",
    object="[^<]*+",
    tail=rf"({_WS}(?:<sf>[^<]*+</sf>{_WS})?+</mv>{_WS})",
    counter_begin="<mt[ >]",
    counter=rf'<mt(?: p="([1-9]\d{{0,8}})")?+>([^<]*+)</mt>{_WS}',
    results="",
)
ROW_SYNTAXES = {"measCollecFile": MEASVALUE, "measDataFile": MEASVALUE, "MeasDataFile": MEASVALUE, "mdc": MV}
"""Root element -> syntax of its rows."""


@dataclass(frozen=True, slots=True)
class CounterRun:
    """Consecutive counter names."""

    names: tuple[str, ...]
    positions: tuple[str, ...]
    """The p of each counter."""
    lines: int
    """Number of line ends."""


@lru_cache(512)
def counter_run(text: str, syntax: RowSyntax) -> CounterRun | None:
    """Returns the counters that the text names; None if it holds anything else."""
    found = _consecutive(re.compile(syntax.counter), text)
    names = tuple(match[2].strip(BLANKS) for match in found)
    if not 0 < len(found) <= MAX_COUNTERS or found[-1].end() < len(text) or any(MARKUP.search(name) for name in names):
        return None
    return CounterRun(names, tuple(match[1] or str(at) for at, match in enumerate(found, 1)), lines_in(text))


@dataclass(frozen=True, slots=True)
class RowRun:
    """Consecutive rows in a text."""

    rows: list[RowGroups]
    end: int
    """Index behind the last row."""
    lines: int = -1
    """Line ends in each row before its tail, without those within values; -1 if rows may differ."""
    is_list: bool = False
    """True if a row holds all its values in one list."""


def find_list_rows(syntax: RowSyntax, text: str, at: int) -> RowRun | None:
    """Returns the rows from this index on that hold all their values in one list."""
    return _row_run(_list_pattern(syntax), text, at, is_list=True) if syntax.results else None


def find_value_rows(syntax: RowSyntax, positions: tuple[str, ...], text: str, at: int) -> RowRun | None:
    """Returns the rows from this index on with one element per value; a value that is left out becomes a blank."""
    layout = _layout_pattern(syntax).match(text, at)
    if not layout:
        return None
    *spaces, has_p, gap = layout.groups()
    pattern = _row_pattern(syntax, positions if has_p else ("",) * len(positions), (*spaces, gap))
    lines = sum(map(lines_in, spaces)) + lines_in(gap) * (len(positions) - 1)
    return _row_run(pattern, text, at, lines) or _row_run(_sparse_pattern(syntax, positions), text, at)


def _row_run(pattern: re.Pattern[str], text: str, at: int, lines: int = -1, *, is_list: bool = False) -> RowRun | None:
    matches = _consecutive(pattern, text, at)
    if not matches:
        return None
    return RowRun([match.groups(" ") for match in matches], matches[-1].end(), lines, is_list)


def _consecutive(pattern: re.Pattern[str], text: str, at: int = 0) -> list[re.Match[str]]:
    """Returns matches of the pattern, each beginning where the one before ended."""
    scanner = pattern.scanner(text, at)  # type: ignore[attr-defined] # undocumented, and twice as fast
    return list(iter(scanner.match, None))


@lru_cache(8)
def _layout_pattern(syntax: RowSyntax) -> re.Pattern[str]:
    """Returns the pattern that finds a row's layout.

    Its groups are the white space before the first value, " p=" if values have a p, and the white space between values.
    """
    opening = syntax.opened(f"({_WS})", f"({_WS})", is_object_captured=False)
    return re.compile(rf"{opening}<r( p=)?[^>]*+>(?:[^<]*+</r>)?({_WS})<")


@lru_cache(512)
def _row_pattern(syntax: RowSyntax, positions: tuple[str, ...], layout: tuple[str, ...]) -> re.Pattern[str]:
    """Returns the pattern of a row with all its values in this layout; an empty position is a value without p."""
    values = (f'<r p="{re.escape(p)}">([^<]*+)</r>' if p else "<r>([^<]*+)</r>" for p in positions)
    *spaces, gap = map(re.escape, layout)
    return re.compile(syntax.opened(*spaces) + gap.join(values) + syntax.tail)


@lru_cache(512)
def _sparse_pattern(syntax: RowSyntax, positions: tuple[str, ...]) -> re.Pattern[str]:
    """Returns the pattern of a row in any layout that may leave values out."""
    values = (f'(?><r p="{p}">([^<]*+)</r>{_WS}|<r p="{p}" ?/>{_WS}|)' for p in map(re.escape, positions))
    return re.compile(syntax.opened(_WS, _WS) + "".join(values) + syntax.tail)


@lru_cache(8)
def _list_pattern(syntax: RowSyntax) -> re.Pattern[str]:
    return re.compile(syntax.opened(_WS, _WS) + syntax.results + syntax.tail)


def _object_json(text: str) -> str:
    return "" if _MARKUP_IN_NAME.search(text) else json_string(text.strip(BLANKS))


def _tail_parts(text: str) -> tuple[str, int]:
    content = text.partition("</")[0].partition(">")[2]
    return ("", 0) if MARKUP.search(content) else ("1" if is_suspect(content) else "0", lines_in(text))


OBJECT_JSON = Memo(_object_json)
"""Object of a row -> its JSON; empty if expat must read the row."""
TAIL_PARTS = Memo(_tail_parts)
"""Tail of a row -> its suspect flag (empty if expat must read the row) and its number of line ends."""
