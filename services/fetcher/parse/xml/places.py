"""Translates the parser's position to that in the file, as some text is hidden from the parser and probes are added."""

from dataclasses import dataclass

from services.fetcher.parse.text import last_line_of, lines_in


@dataclass(frozen=True, slots=True)
class Shift:
    """The difference between positions in the fed text and in the file, valid from a line and column on."""

    line: int = 1
    column: int = 0
    lines: int = 0
    """Lines to add."""
    columns: int = 0
    """Columns to add on the first line only."""


class Places:
    """Keeps track of what was fed and what was hidden. Lines count from 1, columns from 0, as the parser's do."""

    def __init__(self) -> None:
        self.line = 1
        self.column = 0
        self.shifts = [Shift()]
        """The last shift is the current one; earlier ones apply to a token that has not ended yet."""

    def fed(self, text: str) -> None:
        """Records a text that was fed to the parser."""
        self.line, self.column = self.behind(text)

    def behind(self, text: str) -> tuple[int, int]:
        """Returns the parser's line and column behind a text that is fed next."""
        if "\r" in text or "\n" in text:
            return self.line + lines_in(text), len(text) - last_line_of(text)
        return self.line, self.column + len(text)

    def probed(self, probe: str, *, between_elements: bool) -> None:
        """Records that the text fed last was a probe, which is not in the file."""
        last = self.shifts[-1]
        columns = last.columns if self.line == last.line else 0
        if between_elements:
            self.shifts.clear()
        self.shifts.append(Shift(self.line, self.column, last.lines, columns - len(probe)))

    def hidden(self, text: str, begin: int, end: int, lines: int) -> None:
        """Records a part of the text, with its line ends, that stands in the file where the last probe was fed."""
        last = self.shifts.pop()
        columns = end - last_line_of(text, begin, end) - self.column if lines else last.columns + end - begin
        self.shifts.append(Shift(last.line, last.column, last.lines + lines, columns))

    def in_file(self, line: int, column: int) -> tuple[int, int]:
        """Returns the position in the file for a position of the parser."""
        holding = [shift for shift in self.shifts if (shift.line, shift.column) <= (line, column)] or self.shifts[:1]
        shift = holding[-1]
        return line + shift.lines, column + (shift.columns if line == shift.line else 0)
