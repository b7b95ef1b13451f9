"""The states of a file's life. Pure.

The ledger tells a file's stage; together with the sinks' positions and what they set aside that is its state.
"""

from typing import Literal

from shared.messages import FileStatus

State = Literal[
    "found", "fetching", "postponed", "parsed", "stored", "failed", "done", "quarantined", "error", "lost"
]  # fmt: skip
"""Of a file.

found, fetching, postponed, failed, error, lost: as `shared.messages.Stage` says.
parsed       in the topic: a required sink is not beyond it yet
stored       every required sink is beyond it; it is to be moved to done/
done         and moved
quarantined  the same, but some of its values were set aside, by the parser or by a sink
"""


def state_of(file: FileStatus, *, stored: bool, set_aside: bool) -> State:
    """A file's state by its newest status.

    Args:
        file: the status.
        stored: whether every required sink is beyond it.
        set_aside: whether a sink set some of its values aside.
    """
    if file.stage == "parsed" and stored:
        return "stored"
    if file.stage == "done" and (file.quarantined or set_aside):
        return "quarantined"
    return file.stage
