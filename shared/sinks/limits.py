"""The limits of one write of a sink."""

from dataclasses import dataclass
from typing import Annotated

from shared.configuration.resolve import Number, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLimits:
    """Limits of one write, and the intervals of the loop."""

    batch_rows: Annotated[Number, "a write stops gathering at this many rows"] = 20_000
    batch_bytes: Annotated[Number, "a write stops gathering at this many bytes of messages (uncompressed)"] = 16_000_000
    batch_wait_s: Annotated[Seconds, "a write stops gathering after this time"] = 1.0
    announce_s: Annotated[Seconds, "interval between announcements of the position"] = 1.0
    config_look_s: Annotated[Seconds, "interval between checks for added and removed systems"] = 5.0
    longest_backoff_s: Annotated[Seconds, "between two tries while the database is away"] = 10.0
