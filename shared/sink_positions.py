"""SinkPositions: the one rule that decides when a file is stored in a sink. Pure.

The batches of a file all lie in one partition, so a sink has the whole file once the sink's position in that
partition is beyond the file's last offset.
"""

from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache

from shared.messages import SinkPosition


@dataclass(frozen=True, slots=True)
class SinkPositions:
    """The next offset of each sink in each partition. A file is named by its topic, partition and last offset."""

    next_offsets: MutableMapping[str, int] = field(default_factory=dict)
    """sink/topic/partition -> next offset. May be a table that somebody else stores."""

    def record(self, position: SinkPosition) -> None:
        """Take a sink's newest position, in place of the one before."""
        self.next_offsets[_key(position.sink, position.topic, position.partition)] = position.next_offset

    def is_stored(self, sink: str, topic: str, partition: int, last_offset: int) -> bool:
        """Returns whether a sink has the whole file."""
        return last_offset < self.next_offsets.get(_key(sink, topic, partition), 0)

    def is_stored_in_all(self, sinks: Collection[str], topic: str, partition: int, last_offset: int) -> bool:
        """Returns whether every one of the sinks has the whole file; False if there is no sink."""
        for sink in sinks:  # a loop, as it is asked of every file every second
            if last_offset >= self.next_offsets.get(_key(sink, topic, partition), 0):
                return False
        return bool(sinks)

    def stored_before(self, sinks: Collection[str], topic: str, partition: int) -> int:
        """Returns the offset before which every one of the sinks has everything; 0 if there is no sink."""
        return min((self.next_offsets.get(_key(sink, topic, partition), 0) for sink in sinks), default=0)

    def in_partition(self, topic: str, partition: int) -> dict[str, int]:
        """Returns the next offset of each sink that has told one for this partition, in the order of their names."""
        end = _key("", topic, partition)
        return {key.removesuffix(end): at for key, at in sorted(self.next_offsets.items()) if key.endswith(end)}


@lru_cache(maxsize=4096)
def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
