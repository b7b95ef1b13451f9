"""Backlog: tells which announcements may have been processed before, by another fetcher or before a restart. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.kafka.record import Record, TopicPartition


@dataclass
class Backlog:
    """The records that were in each partition when this fetcher began to read it. Owned by the thread that reads.

    No other fetcher can have processed a record that came later.
    """

    lag: Callable[[TopicPartition, int], int]
    """Returns how many records of a partition are left to read from an offset on."""
    next_offset: dict[TopicPartition, int] = field(default_factory=dict)
    end: dict[TopicPartition, int] = field(default_factory=dict)

    def includes(self, record: Record) -> bool:
        """Takes the next record that was read; returns whether it was there before. A jump is a new assignment."""
        at = record.topic_partition
        if self.next_offset.get(at) != record.offset:
            self.end[at] = record.offset + max(1, self.lag(at, record.offset))
        self.next_offset[at] = record.offset + 1
        return record.offset < self.end[at]
