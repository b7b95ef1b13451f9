"""Files with batches in a gap of the topic: a required sink can never store them, so they are collected again. Pure."""

from dataclasses import replace

from shared.messages import FileStatus


def collected_again(file: FileStatus, sink: str, now_s: float) -> FileStatus:
    """Returns the status of a parsed file that a sink can no longer store.

    The file is still on its element, as it is moved only when it is complete: the scanner announces it again.
    """
    reason = f"batches left {file.topic} before {sink} stored them"
    nowhere = replace(file, topic="", partition=-1, first_offset=-1, last_offset=-1)
    return replace(nowhere, stage="postponed", at_s=now_s, reason=reason, moves_refused=0, not_moved="")
