"""The bridge's own settings, and what a system's say about storing its counters."""

from dataclasses import dataclass
from typing import Annotated

from shared.settings import Settings
from shared.sinks.loop import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ChBridgeSettings(SinkLimits):
    """Section `ch_bridge`. Each insert costs ClickHouse a part: it likes fewer, larger ones than MySQL."""

    batch_rows: Annotated[int, "a write waits for no more rows"] = 100_000
    batch_bytes: Annotated[int, "nor for more bytes of messages, as they are in Kafka's clients"] = 64_000_000
    batch_wait_s: Annotated[float, "nor longer than this"] = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How counters of one system are stored. Asked for at each write: the configuration changes while we run."""

    add_columns: bool = True
    split_dn: bool = False
    retention_days: int | None = None
    """0: for ever; None: as it is."""


def rules_of(settings: Settings, system: str) -> Rules:
    """Of a system that is configured no more, what is left is stored, and what is stored stays as long as it did."""
    found = settings.system(system)
    return Rules(
        add_columns=settings.schedule.is_auto_adding_column,
        split_dn=found is not None and "split-dn" in found.preprocessing,
        retention_days=found.retention_days if found else None,
    )
