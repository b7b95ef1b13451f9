"""Converts the values of many rows to JSON: all at once where they are proven to be numbers, else one by one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

from services.fetcher.parse.values.cells import BLANKS, CELLS, NULL, are_numbers, are_rows
from services.fetcher.parse.values.rows import COMMA_AND_BLANK, xml_list
from services.fetcher.parse.xml.patterns import MARKUP, RowGroups


@dataclass(frozen=True, slots=True)
class ProvenCells:
    """The cells of some rows as JSON."""

    lines: list[str]
    """The cells of each row, joined by commas."""
    nulls: int
    are_single_line: bool = True
    """True if it is proven that no value contains a line end."""


def prove_value_rows(rows: list[RowGroups], width: int, *, has_brackets: bool) -> ProvenCells | None:
    """Converts rows with one text per value; None if expat must read them."""
    values = [row[1:-1] for row in rows]
    return (None if has_brackets else _at_once(values, width)) or _one_by_one(values)


def prove_list_rows(rows: list[RowGroups], width: int, *, has_brackets: bool) -> ProvenCells | None:
    """Converts rows with one text for all values, which is an XML list; None if expat must read them."""
    texts = [row[1].strip(BLANKS) for row in rows]
    text = "\n".join(texts)
    if not has_brackets and "," not in text:
        found = _numbers(text.replace(" ", ","), len(rows) * width)
        if found:
            return replace(found, are_single_line=texts == [row[1] for row in rows])
    if "," in text and any(map(COMMA_AND_BLANK.search, texts)):  # expat's reader tells lists of commas from vectors
        return None
    if MARKUP.search(text):  # before the list is split at white space
        return None
    values = [tuple(xml_list(text)) for text in texts]
    if any(len(row) != width for row in values):
        return None
    found = None if has_brackets else _at_once(values, width)
    return replace(found, are_single_line=False) if found else _one_by_one(values)


def _at_once(values: list[RowGroups], width: int) -> ProvenCells | None:
    """Tries numbers only, then vectors in the columns where the first row has some, then vectors in any column."""
    columns = [at for at, text in enumerate(values[0]) if "," in text]
    found = None if columns else _numbers("\n".join(map(",".join, values)), len(values) * width)
    if columns and not found:
        found = _vectors(values, columns, width)
    return found or _vectors(values, range(width), width)


def _numbers(text: str, count: int) -> ProvenCells | None:
    """Replaces blanks and NIL by null, then proves that the result is JSON.

    If a replaced token was only part of a text, the result is not valid JSON and the proof fails.
    """
    marked = text.replace(" ", NULL)
    nulls = (len(marked) - len(text)) // (len(NULL) - 1)
    if "N" in text:
        nulls += text.count("NIL")
        marked = marked.replace("NIL", NULL)
    if "n" in text:
        nulls = marked.count(NULL)
    return ProvenCells(marked.split("\n"), nulls) if are_numbers(marked, count) else None


def _vectors(values: list[RowGroups], columns: Iterable[int], width: int) -> ProvenCells | None:
    """Writes the texts with commas in some columns as arrays, then proves that all cells are numbers or arrays."""
    lines: list[str] = []
    for row in values:
        cells = list(row)
        for at in columns:
            cell = cells[at]
            if "," in cell and " " not in cell:
                cells[at] = f"[{cell}]"
        lines.append(",".join(cells))
    text = "\n".join(lines)
    if "n" in text:
        return None
    marked = text.replace(" ", NULL)
    if not are_rows(marked, width, len(values)):
        return None
    return ProvenCells(marked.split("\n"), (len(marked) - len(text)) // (len(NULL) - 1))


def _one_by_one(values: list[RowGroups]) -> ProvenCells | None:
    if MARKUP.search("\n".join(chain.from_iterable(values))):
        return None
    json = [[*map(CELLS.__getitem__, row)] for row in values]
    nulls = sum(row.count(NULL) for row in json)
    return ProvenCells([",".join(row) for row in json], nulls, are_single_line=False)
