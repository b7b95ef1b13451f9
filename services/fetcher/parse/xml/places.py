"""Where in the file the parser stands, although part of the text was hidden from it, and probes were put into it."""

from dataclasses import dataclass

from services.fetcher.parse.text import last_line_of, lines_in


@dataclass(frozen=True, slots=True)
class Shift:
    """From a place of what was fed on: what to add for the place in the file."""

    line: int = 1
    column: int = 0
    lines: int = 0
    columns: int = 0
    """On that line only."""


class Places:
    """Lines count from 1, columns from 0, as the parser's do."""

    def __init__(self) -> None:
        self.line = 1
        self.column = 0
        self.shifts = [Shift()]
        """The last one holds; those before it where a token began that has not ended yet."""

    def fed(self, text: str) -> None:
        """The parser got that text."""
        if "\r" in text or "\n" in text:
            self.line += lines_in(text)
            self.column = len(text) - last_line_of(text)
        else:
            self.column += len(text)

    def probed(self, probe: str, *, between_elements: bool) -> None:
        """What it got last is not in the file."""
        last = self.shifts[-1]
        columns = last.columns if self.line == last.line else 0
        if between_elements:
            self.shifts.clear()
        self.shifts.append(Shift(self.line, self.column, last.lines, columns - len(probe)))

    def hidden(self, text: str, begin: int, end: int, lines: int) -> None:
        """That part of the text, with so many line ends, stands in the file where the last probe was put."""
        last = self.shifts.pop()
        columns = end - last_line_of(text, begin, end) - self.column if lines else last.columns + end - begin
        self.shifts.append(Shift(last.line, last.column, last.lines + lines, columns))

    def in_file(self, line: int, column: int) -> tuple[int, int]:
        """The parser's place in the file."""
        holding = [shift for shift in self.shifts if (shift.line, shift.column) <= (line, column)] or self.shifts[:1]
        shift = holding[-1]
        return line + shift.lines, column + (shift.columns if line == shift.line else 0)
