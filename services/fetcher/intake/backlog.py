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

    def on_read(self, record: Record) -> None:
        """Takes the next record that was read. A jump is a new assignment."""
        at = record.topic_partition
        if self.next_offset.get(at) != record.offset:
            self.end[at] = record.offset + max(1, self.lag(at, record.offset))
        self.next_offset[at] = record.offset + 1

    def includes(self, record: Record) -> bool:
        """Returns True if a record that was read was there before."""
        return record.offset < self.end[record.topic_partition]
