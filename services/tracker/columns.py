"""Column: whole numbers in as few bytes each as the largest of them needs. Pure."""

from array import array
from typing import Final

CODES: Final = "bhiq"
"""Type codes of signed numbers of 1, 2, 4 and 8 bytes."""


class Column:
    """Numbers by row; rows are only appended. A number that does not fit makes all of them wider."""

    __slots__ = ("numbers",)

    def __init__(self) -> None:
        self.numbers: array[int] = array(CODES[0])

    def append(self, number: int) -> None:
        """Adds a row. A number has at most 64 bits."""
        try:
            self.numbers.append(number)
        except OverflowError:
            self._widen()
            self.append(number)

    def set(self, row: int, number: int) -> None:
        """Replaces the number of a row. A number has at most 64 bits."""
        try:
            self.numbers[row] = number
        except OverflowError:
            self._widen()
            self.set(row, number)

    def _widen(self) -> None:
        wider = CODES[CODES.index(self.numbers.typecode) + 1]
        self.numbers = array(wider, self.numbers)
