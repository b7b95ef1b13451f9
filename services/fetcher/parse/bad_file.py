"""The error for a file that cannot be read: what is wrong, and where."""

from shared.errors import Hopeless


class BadFile(Hopeless):
    """The file cannot be read, and reading it again cannot help.

    Line and column count from 1; they are 0 where a position makes no sense.
    """

    def __init__(self, what: str, line: int = 0, column: int = 0, member: str = "") -> None:
        where = f"{what}: line {line}, column {column}" if line else what
        super().__init__(f"{member}: {where}" if member else where)
        self.what = what
        self.line = line
        self.column = column

    def within(self, member: str) -> "BadFile":
        """Returns the error of a document within an archive; an empty name changes nothing."""
        return BadFile(self.what, self.line, self.column, member)
