"""The values of many rows as JSON: at once where they can be proven to be numbers, else one by one."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from services.fetcher.parse.cells import BLANKS, CELLS, NULL, Proven, proven
from services.fetcher.parse.patterns import MARKUP, Groups
from services.fetcher.parse.rows import split as parts


def split(rows: list[Groups], width: int, *, has_brackets: bool) -> Proven | None:
    """Of rows with a text for each value; None where expat must look."""
    values = [row[1:-1] for row in rows]
    return (None if has_brackets else _at_once(values, width)) or _one_by_one(values)


def listed(rows: list[Groups], width: int, *, has_brackets: bool) -> Proven | None:
    """Of rows with one text for all values."""
    texts = [row[1].strip(BLANKS) for row in rows]
    text = "\n".join(texts)
    if not has_brackets and "," not in text:
        found = proven(_with_nulls(text.replace(" ", ",")), len(rows), width)
        if found:
            return Proven(found.lines, found.nulls, has_shape=texts == [row[1] for row in rows])
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
    if not columns:
        found = proven(_with_nulls("\n".join(map(",".join, values)).replace(" ", NULL)), len(values), width)
        if found:
            return found
    for vectors in (columns, range(width)) if columns else (range(width),):
        text = "\n".join([",".join(_with_vectors(row, vectors)) for row in values])
        found = proven(text.replace(" ", NULL), len(values), width) if "n" not in text else None
        if found:
            return found
    return None


def _with_nulls(text: str) -> str:
    return text.replace("NIL", NULL) if "N" in text else text


def _with_vectors(row: Groups, columns: Iterable[int]) -> list[str]:
    """Vectors in brackets; one with a missing element is left as it is, so that the row cannot be proven."""
    changed = list(row)
    for at in columns:
        cell = changed[at]
        if "," in cell and " " not in cell:
            changed[at] = f"[{cell}]"
    return changed


def _one_by_one(values: list[Groups]) -> Proven | None:
    if MARKUP.search("\n".join(chain.from_iterable(values))):
        return None
    json = [[*map(CELLS.__getitem__, row)] for row in values]
    nulls = sum(row.count(NULL) for row in json)
    return Proven([",".join(row) for row in json], nulls, has_shape=False)
