"""The bridge's own settings."""

from dataclasses import dataclass
from typing import Annotated

from shared.sink import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ChBridgeSettings(SinkLimits):
    """Section `ch_bridge`. Each insert costs ClickHouse a part: it likes fewer, larger ones than MySQL."""

    batch_messages: Annotated[int, "messages at most in one write"] = 2000
    batch_wait_s: Annotated[float, "a write waits no longer for more messages"] = 2.0
