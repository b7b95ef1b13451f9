"""The settings of mysql_writer, and its rules for storing the counters of one system."""

from dataclasses import asdict, dataclass
from typing import Annotated

from shared.settings import Settings
from shared.sinks.loop import SinkLimits
from shared.sinks.rules import StorageRules, storage_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlWriterSettings(SinkLimits):
    """Section `mysql_writer`."""

    writers: Annotated[int, "writer threads; each has its own Kafka partitions and database connections"] = 4
    partition_look_s: Annotated[float, "interval between checks of the day partitions"] = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlRules(StorageRules):
    """Rules for storing the counters of one system in MySQL."""

    row_by_row: bool = False
    """One statement per row, to find a row that the server refuses."""


def mysql_rules(settings: Settings, system: str) -> MysqlRules:
    """Returns the rules of a system."""
    found = settings.system(system)
    row_by_row = found is not None and not found.batch_insert_counter
    return MysqlRules(**asdict(storage_rules(settings, system)), row_by_row=row_by_row)
