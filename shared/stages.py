"""Facts about the stages of a file (`shared.messages.Stage`) on which several services rely."""

READ_STAGES = frozenset({"parsed", "failed", "done", "error"})
"""The stages of a file that was read; its status has figures or a reason."""
SETTLED_EARLIER = "settled earlier"
"""Reason of a file in done/ or error/ whose figures are not known: the ledger no longer has its earlier statuses."""
