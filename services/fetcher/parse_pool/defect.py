"""The error of a parser process that nobody planned for; both processes import it by this name."""


class ParserDefect(Exception):  # noqa: N818
    """An error in a parser process that nobody planned for; it is passed on as text, which any process can read."""

    def __init__(self, what: str, traceback: str) -> None:
        super().__init__(what, traceback)
        self.what = what
        self.traceback = traceback
