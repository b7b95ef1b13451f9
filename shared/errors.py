"""The errors into which adapters translate foreign errors: no retry can help, one may help, or the process must end."""


class Hopeless(Exception):  # noqa: N818 - `except Hopeless` reads well
    """A retry cannot help. The work is set aside with this reason, counted, and can be replayed."""


class Unreachable(Exception):  # noqa: N818
    """The other side did not respond, or responded with an error. A later retry may help."""


class MustExit(Exception):  # noqa: N818
    """The process must end: no record is the cause, so none may be set aside because of it."""
