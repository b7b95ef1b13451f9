"""The one error of a file that cannot be read: what is wrong, and where."""

from shared.errors import Hopeless


class BadFile(Hopeless):
    """Reading it again cannot help; line and column count from 1, 0 where a place makes no sense."""

    def __init__(self, what: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"{what}: line {line}, column {column}" if line else what)
        self.line = line
        self.column = column
