"""The states of a file's life. Pure.

The state of a file follows from its stage in the ledger, the positions of the sinks, and what they set aside.
"""

from typing import Literal

from services.tracker.cycle_files import StateKey

State = Literal[
    "found", "fetching", "postponed", "parsed", "stored", "unmoved", "failed", "done", "quarantined", "error", "lost"
]  # fmt: skip
"""The state of a file.

found, fetching, postponed, failed, error, lost: see `shared.messages.Stage`.
parsed       in the counters topic; a required sink has not stored it yet
stored       stored by every required sink; waiting to be moved to done/
unmoved      cannot be moved to done/ or error/, for example on a read-only element; tried again, at least once an hour
done         stored and moved
quarantined  stored and moved, but the parser or a sink set some of its values aside
"""


def state_of(file: StateKey, *, stored: bool) -> State:
    """Returns the state of a file.

    Args:
        file: the facts about it.
        stored: whether every required sink has stored it.
    """
    if file.refused:
        return "unmoved"
    if file.stage == "parsed" and stored:
        return "stored"
    if file.stage == "done" and file.flawed:
        return "quarantined"
    return file.stage
