"""Checks the rows of a batch of counters: `[object, suspect 0|1, value, ...]`. Pure."""

import re
from collections.abc import Sequence
from typing import Any

DIGITS_OF_64_BITS = 19
"""Digits of the smallest integer that does not fit."""
_DIGITS_AS_0 = bytes(ord("0") if chr(code).isdecimal() and code < 128 else ord(" ") for code in range(256))
_INTEGER = re.compile(rb"(?<=[\[,])-?[0-9]{19,400}(?=[,\]])")
_PLAIN = frozenset({int, float, str, type(None)})


def problem_of_rows(rows: Sequence[Any], cells: int, raw: bytes, objects: int) -> str:
    """Returns what is wrong with the rows of a batch, and where; an empty text if they are as expected.

    Args:
        rows: the rows, as parsed from the JSON.
        cells: number of cells in each row.
        raw: the JSON of the whole batch.
        objects: number of JSON objects that the batch itself consists of.
    """
    if (number := _bad_row(rows, cells)) is not None:
        return f"Expected `[object, 0|1, value, ...]` of {cells} cells - at `$.rows[{number}]`"
    # Looking at each cell takes as long as parsing them; counting in the bytes takes a tenth of that.
    is_flat = raw.count(b"{") == objects and raw.count(b"[") == 2 + len(rows)
    if (not is_flat or b"true" in raw or b"false" in raw) and (at := _bad_cell(rows)) is not None:
        return f"Expected a number, a text, null or an array of these - at `$.rows[{at[0]}][{at[1]}]`"
    if b"0" * DIGITS_OF_64_BITS in raw.translate(_DIGITS_AS_0) and (integer := _rounded(rows, raw)):
        return f"Expected numbers of 64 bits or of double precision, got {integer} - at `$.rows`"
    return ""


def _rounded(rows: Sequence[Any], raw: bytes) -> str:
    """Returns an integer beyond 64 bits that the parser has made a double, with other digits; else an empty text."""
    large = {
        float(text): text for text in map(bytes.decode, _INTEGER.findall(raw)) if not -(2**63) <= int(text) < 2**64
    }
    cells = {cell for row in rows for cell in row if type(cell) is float}
    cells |= {part for row in rows for cell in row if type(cell) is list for part in cell if type(part) is float}
    return next((text[:40] for value, text in large.items() if value in cells), "")


def _bad_row(rows: Sequence[Any], cells: int) -> int | None:
    """Returns the index of the first row that is not an object, a flag and one value per counter."""
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != cells or type(row[0]) is not str or row[1].__class__ is not int:
            return number
        if not 0 <= row[1] <= 1:
            return number
    return None


def _bad_cell(rows: Sequence[Any]) -> tuple[int, int] | None:
    """Returns row and index of the first cell that is neither plain nor an array of plain values."""
    for number, row in enumerate(rows):
        if not set(map(type, row)) <= _PLAIN:
            for at, cell in enumerate(row):
                if type(cell) not in _PLAIN and not (type(cell) is list and set(map(type, cell)) <= _PLAIN):
                    return number, at
    return None
