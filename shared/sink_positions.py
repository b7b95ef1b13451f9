"""SinkPositions: the rule that decides when a sink has stored a file. Pure.

All batches of a file are in one partition, so a sink has stored the file once its position in that partition is beyond
the last offset of the file. A file without batches has the last offset -1: every sink has stored it. It has not if
one of the file's batches left the topic before the sink read it.
"""

from collections import defaultdict
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from shared.ledger import OffsetGap
from shared.messages import SinkPosition

MOST_INTERLEAVED = 100
"""Messages of other files between two of one file, at most; bounds a file whose first offset is unknown."""
MOST_GAPS = 100
"""Gaps to remember per sink and partition; files under way when a gap was found have been dealt with since."""


class FileInTopic(Protocol):
    """The facts about a file from which it follows whether a sink has stored it, such as its status."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def first_offset(self) -> int:
        """Offset of the file's first batch; -1: unknown."""

    @property
    def last_offset(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def parsed_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class SinkPositions:
    """The position of each sink in each partition. A file is identified by its topic, partition and last offset."""

    next_offsets: MutableMapping[str, int] = field(default_factory=dict)
    """sink/topic/partition -> next offset. It may be a table that is stored elsewhere."""

    gaps: dict[str, list[OffsetGap]] = field(default_factory=lambda: defaultdict(list))
    """sink/topic/partition -> gaps in what the sink read, in order of their discovery."""

    def record_gap(self, gap: OffsetGap) -> None:
        """Remembers a gap; the same gap may come again."""
        known = self.gaps[_key(gap.sink, gap.topic, gap.partition)]
        if gap not in known:
            known.append(gap)
            del known[:-MOST_GAPS]

    def lost_by(self, sinks: Collection[str], file: FileInTopic) -> str:
        """Returns the first of the sinks that missed a batch of the file in a gap; empty if none did."""
        if not self.gaps or file.last_offset < 0:
            return ""
        keys = {sink: _key(sink, file.topic, file.partition) for sink in sinks}
        return next((sink for sink, key in keys.items() if any(is_in(gap, file) for gap in self.gaps.get(key, ()))), "")

    def record(self, position: SinkPosition) -> None:
        """Replaces the position of a sink. A lower one is the truth too: a failover of the database loses commits."""
        self.next_offsets[_key(position.sink, position.topic, position.partition)] = position.next_offset

    def next_offset(self, sink: str, topic: str, partition: int) -> int:
        """Returns the position of a sink in a partition; 0 if it never reported one."""
        return self.next_offsets.get(_key(sink, topic, partition), 0)

    def is_stored(self, sink: str, topic: str, partition: int, last_offset: int) -> bool:
        """Returns whether a sink has stored the whole file."""
        return last_offset < self.next_offsets.get(_key(sink, topic, partition), 0)

    def is_stored_in_all(self, sinks: Collection[str], topic: str, partition: int, last_offset: int) -> bool:
        """Returns whether all of the sinks have stored the whole file; False if there is no sink."""
        for sink in sinks:  # a plain loop, as this is called for every file in flight
            if last_offset >= self.next_offsets.get(_key(sink, topic, partition), 0):
                return False
        return bool(sinks)

    def stored_before(self, sinks: Collection[str], topic: str, partition: int) -> int:
        """Returns the offset before which all of the sinks have stored everything; 0 if there is no sink."""
        return min((self.next_offsets.get(_key(sink, topic, partition), 0) for sink in sinks), default=0)

    def in_partition(self, topic: str, partition: int) -> dict[str, int]:
        """Returns the position of each sink that reported one for this partition, in order of their names."""
        end = _key("", topic, partition)
        return {key.removesuffix(end): at for key, at in sorted(self.next_offsets.items()) if key.endswith(end)}


def is_in(gap: OffsetGap, file: FileInTopic) -> bool:
    """Returns whether a batch of the file lay in a gap of its partition.

    A file whose first offset is unknown counts as if its batches had been far apart: reading it again does no harm.
    """
    if gap.is_new_topic:  # offsets count from 0 again; only a file of the former topic can have this one
        return file.last_offset >= gap.first and file.parsed_s <= gap.at_s
    first = file.first_offset if file.first_offset >= 0 else file.last_offset - file.batches * MOST_INTERLEAVED
    return first < gap.next_offset and file.last_offset >= gap.first


@lru_cache(maxsize=4096)
def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
