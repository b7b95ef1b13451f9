"""The values of many rows as JSON: at once where they can be proven to be numbers, else one by one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

from services.fetcher.parse.values.cells import BLANKS, CELLS, NULL, are_numbers, are_rows
from services.fetcher.parse.values.rows import split as parts
from services.fetcher.parse.xml.patterns import MARKUP, Groups


@dataclass(frozen=True, slots=True)
class Proven:
    """Rows of cells in JSON: comma-joined, a line each."""

    lines: list[str]
    nulls: int
    has_shape: bool = True
    """No line ends within values."""


def split(rows: list[Groups], width: int, *, has_brackets: bool) -> Proven | None:
    """Of rows with a text for each value; None where expat must look."""
    values = [row[1:-1] for row in rows]
    return (None if has_brackets else _at_once(values, width)) or _one_by_one(values)


def listed(rows: list[Groups], width: int, *, has_brackets: bool) -> Proven | None:
    """Of rows with one text for all values."""
    texts = [row[1].strip(BLANKS) for row in rows]
    text = "\n".join(texts)
    if not has_brackets and "," not in text:
        found = _numbers(text.replace(" ", ","), len(rows) * width)
        if found:
            return replace(found, has_shape=texts == [row[1] for row in rows])
    if MARKUP.search(text):  # before it may count as white space
        return None
    values = [tuple(parts(text)) for text in texts]
    if any(len(row) != width for row in values):
        return None
    found = None if has_brackets else _at_once(values, width)
    return replace(found, has_shape=False) if found else _one_by_one(values)


def _at_once(values: list[Groups], width: int) -> Proven | None:
    """Vectors are likely to be in the same columns in all rows."""
    columns = [at for at, text in enumerate(values[0]) if "," in text]
    found = None if columns else _numbers("\n".join(map(",".join, values)), len(values) * width)
    if columns and not found:
        found = _vectors(values, columns, width)
    return found or _vectors(values, range(width), width)


def _numbers(text: str, count: int) -> Proven | None:
    """A speculation with a proof: null is put for what may be a missing token; were it part of more, it is no JSON."""
    marked = text.replace(" ", NULL)
    nulls = (len(marked) - len(text)) // (len(NULL) - 1)
    if "N" in text:
        nulls += text.count("NIL")
        marked = marked.replace("NIL", NULL)
    if "n" in text:
        nulls = marked.count(NULL)
    return Proven(marked.split("\n"), nulls) if are_numbers(marked, count) else None


def _vectors(values: list[Groups], columns: Iterable[int], width: int) -> Proven | None:
    """With vectors in those columns, of numbers only."""
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
    return Proven(marked.split("\n"), (len(marked) - len(text)) // (len(NULL) - 1))


def _one_by_one(values: list[Groups]) -> Proven | None:
    if MARKUP.search("\n".join(chain.from_iterable(values))):
        return None
    json = [[*map(CELLS.__getitem__, row)] for row in values]
    nulls = sum(row.count(NULL) for row in json)
    return Proven([",".join(row) for row in json], nulls, has_shape=False)
