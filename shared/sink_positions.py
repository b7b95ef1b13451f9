"""SinkPositions: the rule that decides when a sink has stored a file. Pure.

All batches of a file are in one partition, so a sink has stored the file once its position in that partition is beyond
the last offset of the file. A file without batches has the last offset -1: every sink has stored it.
"""

from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache

from shared.messages import SinkPosition


@dataclass(frozen=True, slots=True)
class SinkPositions:
    """The position of each sink in each partition. A file is identified by its topic, partition and last offset."""

    next_offsets: MutableMapping[str, int] = field(default_factory=dict)
    """sink/topic/partition -> next offset. It may be a table that is stored elsewhere."""

    def record(self, position: SinkPosition) -> None:
        """Replaces the position of a sink."""
        self.next_offsets[_key(position.sink, position.topic, position.partition)] = position.next_offset

    def is_stored(self, sink: str, topic: str, partition: int, last_offset: int) -> bool:
        """Returns whether a sink has stored the whole file."""
        return last_offset < self.next_offsets.get(_key(sink, topic, partition), 0)

    def is_stored_in_all(self, sinks: Collection[str], topic: str, partition: int, last_offset: int) -> bool:
        """Returns whether all of the sinks have stored the whole file; False if there is no sink."""
        for sink in sinks:  # a plain loop, as this is called for every file every second
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


@lru_cache(maxsize=4096)
def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
