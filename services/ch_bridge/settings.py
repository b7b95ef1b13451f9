"""The settings of ch_bridge."""

from dataclasses import dataclass
from typing import Annotated

from shared.sinks.loop import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ChBridgeSettings(SinkLimits):
    """Section `ch_bridge`. Its writes are larger than MySQL's, as each insert creates a data part in ClickHouse."""

    batch_rows: Annotated[int, "a write stops gathering at this many rows"] = 100_000
    batch_bytes: Annotated[int, "a write stops gathering at this many bytes of messages (uncompressed)"] = 64_000_000
    batch_wait_s: Annotated[float, "a write stops gathering after this time"] = 2.0
