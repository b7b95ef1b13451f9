"""The writer's own settings."""

from dataclasses import dataclass
from typing import Annotated

from shared.sink import SinkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlWriterSettings(SinkLimits):
    """Section `mysql_writer`."""

    writers: Annotated[int, "threads, each with its partitions and its connection"] = 4
