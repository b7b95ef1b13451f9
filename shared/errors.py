"""The two errors into which every adapter translates foreign errors: a retry cannot help, or it may help."""


class Hopeless(Exception):  # noqa: N818 - `except Hopeless` reads well
    """A retry cannot help. The work is set aside with this reason, counted, and can be replayed."""


class Unreachable(Exception):  # noqa: N818
    """The other side did not respond, or responded with an error. A later retry may help."""
