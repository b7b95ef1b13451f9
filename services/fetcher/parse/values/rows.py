"""Rows as texts become rows as JSON lines."""

from collections.abc import Iterable

from services.fetcher.parse.block import Block, Fault, Head
from services.fetcher.parse.values.cells import BLANKS, CELLS, NULL, quoted

SUSPECT = frozenset(("true", "1"))


def is_suspect(text: str) -> bool:
    """xs:boolean, in any case of letters."""
    return text.strip(BLANKS).lower() in SUSPECT


def split(text: str) -> list[str]:
    """An XML list: parts between blanks (str.split alone would take other white space for blanks too)."""
    return text.split() if text.isascii() else [part for part in text.translate(_AS_BLANK).split(" ") if part]


_AS_BLANK = str.maketrans("\t\r\n", "   ")


def line(name: str, flag: str, cells: str) -> str:
    """A row in JSON; the parts are JSON already."""
    return f"[{name},{flag},{cells}]" if cells else f"[{name},{flag}]"


def block(head: Head, rows: Iterable[tuple[str, bool, tuple[str, ...]]], faults: list[Fault]) -> Block:
    """A block of rows given as (object, suspect, texts of the values), which fit the head."""
    objects: list[str] = []
    lines: list[str] = []
    nulls = suspects = 0
    for name, suspect, texts in rows:
        cells = [*map(CELLS.__getitem__, texts)]
        nulls += cells.count(NULL)
        suspects += suspect
        objects.append(quoted(name))
        lines.append(line(objects[-1], "1" if suspect else "0", ",".join(cells)))
    return Block(head, objects, lines, nulls, faults, suspects)
