"""Converts rows of texts to rows of JSON."""

import re
from collections.abc import Iterable

from services.fetcher.parse.block import Fault, MeasInfoBlock, MeasInfoHead
from services.fetcher.parse.values.cells import BLANKS, CELLS, NULL, json_string

RowTexts = tuple[str, bool, tuple[str, ...]]
"""A row as it is read: the object, the suspect flag, and the texts of the values."""
_SUSPECT = frozenset(("true", "1"))


def is_suspect(text: str) -> bool:
    """Reads an xs:boolean, in any case of letters."""
    return text.strip(BLANKS).lower() in _SUSPECT


def xml_list(text: str) -> list[str]:
    """Splits an XML list at its blanks (str.split alone would also split at other white space)."""
    return text.split() if text.isascii() else [part for part in text.translate(_TO_SPACE).split(" ") if part]


def names_in(text: str) -> list[str]:
    """Splits a list of names at its blanks; at commas where blanks stand beside them, or where there are no blanks.

    >>> names_in("a b,c"), names_in("a, b, c"), names_in("a,b,c")
    (['a', 'b,c'], ['a', 'b', 'c'], ['a', 'b', 'c'])
    """
    names = xml_list(text)
    has_commas = len(names) == 1 or COMMA_AND_BLANK.search(text.strip(BLANKS))
    return xml_list(text.replace(",", " ")) if has_commas else names


def results_in(text: str) -> list[str] | None:
    """Splits a list of values at its blanks, or at commas where blanks stand beside them; None if both separate values.

    A text without blanks is a single value, which may be a vector.

    >>> results_in("1 2,3"), results_in("1, 2, 3"), results_in("1, 2 3")
    (['1', '2,3'], ['1', '2', '3'], None)
    """
    text = text.strip(BLANKS)
    if not COMMA_AND_BLANK.search(text):
        return xml_list(text)
    items = [item.strip(BLANKS) for item in text.split(",")]
    return items if all(len(xml_list(item)) < 2 for item in items) else None


COMMA_AND_BLANK = re.compile(r",[ \t\r\n]|[ \t\r\n],")
"""Finds a comma beside a blank: then commas separate the items of a list, and not the elements of a vector."""
_TO_SPACE = str.maketrans("\t\r\n", "   ")


def json_row(name: str, flag: str, cells: str) -> str:
    """Returns a row as JSON; the arguments are JSON already."""
    return f"[{name},{flag},{cells}]" if cells else f"[{name},{flag}]"


def measinfo_block(head: MeasInfoHead, rows: Iterable[RowTexts], faults: list[Fault]) -> MeasInfoBlock:
    """Returns a block of rows, each of which has one text per counter of the head."""
    objects: list[str] = []
    lines: list[str] = []
    nulls = suspects = 0
    for name, suspect, texts in rows:
        cells = [*map(CELLS.__getitem__, texts)]
        nulls += cells.count(NULL)
        suspects += suspect
        objects.append(json_string(name))
        lines.append(json_row(objects[-1], "1" if suspect else "0", ",".join(cells)))
    return MeasInfoBlock(head, objects, lines, nulls, faults, suspects)
