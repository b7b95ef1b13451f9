"""The syntax of one row as JSON text, `[object, suspect, cell, ...]`, as the parser writes it."""

import re

_STRING = rb'"(?:[^"\\]|\\.)*+"'
_ROW = re.compile(rb"\[(" + _STRING + rb"),([01])(?:,(.*))?\]", re.DOTALL)
_ROW_START = re.compile(rb"\[" + _STRING)
CELL = re.compile(rb"null|-?[0-9][0-9.eE+-]*+|" + _STRING + rb"|\[(?:[^\]\"]++|" + _STRING + rb")*+\]")
"""Matches one cell."""


class BrokenRow(RuntimeError):  # noqa: N818
    """A held row does not have the parser's own syntax: a defect of pmflow, never of the file."""


def row_parts(row: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns the object, the suspect flag and the comma-joined cells of a row, all of them JSON.

    >>> row_parts(b'["Cell=1",0,5,null]')
    (b'"Cell=1"', b'0', b'5,null')

    Raises:
        BrokenRow: the text is not a row.
    """
    found = _ROW.fullmatch(row)
    if not found:
        raise BrokenRow(f"not a row: {row[:200]!r}")
    return found[1], found[2], found[3] or b""


def row_start(row: bytes) -> bytes:
    """Returns the row up to the end of its object, which identifies the object.

    Raises:
        BrokenRow: the text does not begin like a row.
    """
    found = _ROW_START.match(row)
    if not found:
        raise BrokenRow(f"not a row: {row[:200]!r}")
    return found[0]
