"""The bridge's own settings."""

from dataclasses import dataclass
from typing import Annotated

from shared.sink import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ChBridgeSettings(SinkLimits):
    """Section `ch_bridge`. Each insert costs ClickHouse a part: it likes fewer, larger ones than MySQL."""

    batch_rows: Annotated[int, "a write waits for no more rows"] = 100_000
    batch_bytes: Annotated[int, "nor for more bytes of messages, as they are in Kafka's clients"] = 64_000_000
    batch_wait_s: Annotated[float, "nor longer than this"] = 2.0
