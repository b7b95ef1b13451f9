"""The one error of a file that cannot be read: what is wrong, and where."""

from shared.errors import Hopeless


class BadFile(Hopeless):
    """Reading it again cannot help; line and column count from 1, 0 where a place makes no sense."""

    def __init__(self, what: str, line: int = 0, column: int = 0, member: str = "") -> None:
        where = f"{what}: line {line}, column {column}" if line else what
        super().__init__(f"{member}: {where}" if member else where)
        self.what = what
        self.line = line
        self.column = column

    def within(self, member: str) -> "BadFile":
        """The same, of a document within an archive; nothing changes without a name."""
        return BadFile(self.what, self.line, self.column, member)
