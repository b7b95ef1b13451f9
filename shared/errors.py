"""The two words every adapter turns foreign failures into: trying again cannot help, or may."""


class Hopeless(Exception):  # noqa: N818 - reads as what it says: `except Hopeless`
    """Trying again cannot help: the work is set aside with this reason, counted and replayable."""


class Unreachable(Exception):  # noqa: N818
    """The other side did not answer, or not well: trying again later may help."""
