"""The writer's own settings, and what a system's say about storing its counters."""

from dataclasses import dataclass
from typing import Annotated

from shared.settings import Settings, System
from shared.sinks.loop import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlWriterSettings(SinkLimits):
    """Section `mysql_writer`."""

    writers: Annotated[int, "threads, each with its partitions and its connection"] = 4
    partition_look_s: Annotated[float, "between two looks at the day partitions of tables with a retention"] = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How counters of one system are stored. Asked for at each write: the configuration changes while we run."""

    add_columns: bool = True
    row_by_row: bool = False
    split_dn: bool = False
    retention_days: int = 0
    """0: for ever."""


def rules_of(settings: Settings, system: str) -> Rules:
    """Of a system that is configured no more, what is left is stored by the defaults."""
    found = settings.system(system) or System(name=system)
    return Rules(
        add_columns=settings.schedule.is_auto_adding_column,
        row_by_row=not found.batch_insert_counter,
        split_dn="split-dn" in found.preprocessing,
        retention_days=found.retention_days,
    )
