"""Splits lines into the cells of rows by the rules of CSV; a malformed row costs no other row."""

import csv
from collections import deque
from collections.abc import Iterator

from services.fetcher.parse.bad_file import BadFile

_MAX_LINES = 64
"""Maximum number of lines of a row: a quote that is never closed would take all that follow."""
_CUT = "unexpected end of data"
"""The csv module's error for a quoted text without an end."""


class MalformedRow(str):
    """The line of a row whose quotes do not fit."""

    __slots__ = ()


class _Lines:
    """Passes lines to the csv module, which reads several for one row; lines may be returned to be read again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.again: deque[str] = deque()
        self.taken: list[str] = []
        """The lines of the row that is being read."""
        self.number = 0
        """Number of lines taken."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == _MAX_LINES:
            raise csv.Error(f"a row of more than {_MAX_LINES} lines")
        line = self.again.popleft() if self.again else next(self.lines)
        self.taken.append(line)
        self.number += 1
        return line

    def return_all_but_first(self) -> str:
        """Returns the first line of the row; the others are read again."""
        first, *others = self.taken
        self.again.extendleft(reversed(others))
        self.number -= len(others)
        self.taken.clear()
        return first


class TableRows:
    """Iterates over the rows of a table."""

    def __init__(self, lines: Iterator[str], delimiter: str, *, width: int, above: int) -> None:
        """Args: width: number of cells of a row; above: number of lines above the first one."""
        self.lines = _Lines(lines)
        self.delimiter = delimiter
        self.width = width
        self.above = above
        self.is_ended = True
        """True if the line that was read last has a line end."""

    @property
    def line(self) -> int:
        """The line in the file at which the last row ends."""
        return self.above + self.lines.number

    def __iter__(self) -> Iterator[list[str] | MalformedRow]:
        """Raises BadFile: the table is cut off within a quoted text."""
        lines = self.lines
        reader = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True, strict=True)
        while True:
            try:
                for row in reader:
                    taken = lines.taken
                    self.is_ended = taken[-1].endswith("\n")
                    if len(taken) > 1 and not self._is_one_row(row):
                        yield MalformedRow(lines.return_all_but_first())
                    else:
                        taken.clear()
                        yield row
            except csv.Error as error:
                self.is_ended = lines.taken[-1].endswith("\n")
                if not self.is_ended and len(lines.taken) == 1 and str(error) == _CUT:
                    raise BadFile(f"not a valid table: {error}", self.line) from error
                yield MalformedRow(lines.return_all_but_first())
            else:
                return

    def _is_one_row(self, row: list[str]) -> bool:
        """Returns False for a row of several lines that a stray quote has joined."""
        return len(row) == self.width and len(self.unquoted(MalformedRow(self.lines.taken[0]))) < self.width

    def unquoted(self, row: MalformedRow) -> list[str]:
        """Splits a malformed row at every delimiter."""
        return next(csv.reader([row], delimiter=self.delimiter, quoting=csv.QUOTE_NONE), [])
