"""Gathers the messages of one write, with a fair share for each topic.

A topic that has used its share lets the others go first, and its records wait in memory. A write is still filled if
only one topic has messages (docs/decisions/0029-fair-shares-in-the-sinks.md).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from shared.kafka.record import Record
from shared.sinks.landing import Piece
from shared.sinks.limits import SinkLimits
from shared.sinks.shares import ReadAhead, Shares

MESSAGES_PER_POLL = 20
"""Messages are up to 1 MB each; this is how far reading can exceed its limits."""
SEARCH_S = 0.5
"""Longest time per write in which it waits for messages of other topics that Kafka is known to have."""


class TopicSource(Protocol):
    """The topics as they are read."""

    def read(self, most: int, timeout_s: float) -> Sequence[Record]:
        """Returns up to `most` records: as soon as that many arrived, or those that arrived within the time."""

    def unread(self) -> Mapping[str, int]:
        """Returns how many records Kafka is known to have of each topic that are not read yet."""

    def stop_reading(self, topics: AbstractSet[str]) -> None:
        """Reads these topics no further until called again; goes on reading all others."""


@dataclass
class Gatherer:
    """Gathers the messages of one write after another; belongs to one thread."""

    source: TopicSource
    decode: Callable[[Sequence[Record]], Sequence[Piece]]
    limits: SinkLimits
    ahead: ReadAhead = field(default_factory=ReadAhead)
    clock_s: Callable[[], float] = monotonic
    unread: Mapping[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    """Topics of which nothing came although Kafka has something; no write waits for them until something comes."""

    def gather(self, wait_s: float, waiting: Collection[str]) -> list[Piece]:
        """Returns the messages of one write: up to the limits of rows and bytes, or those that came within `wait_s`.

        `waiting` are topics that are not written now; what is read of them stays in memory.
        """
        write, found = Shares(self.limits.batch_rows, self.limits.batch_bytes), list[Piece]()
        until_s, search_s = self.clock_s() + wait_s, SEARCH_S
        self._read(1, 0.0, waiting) if self._ready(waiting) else self._read(MESSAGES_PER_POLL, wait_s, waiting)
        while True:
            ready = self._ready(waiting)
            missing = self.unread.keys() - ready - self.silent - set(waiting)
            sharing = len(ready | missing | write.used.keys())
            if below := write.below(ready, sharing):
                found += self._take(below[0], write)
            elif write.is_full:
                break
            elif (wanted := write.below(missing, sharing)) and search_s > 0:
                search_s -= self._read(self._known(), search_s, waiting)
                self.silent |= set(wanted) - self._ready(()) if search_s <= 0 else set()
            elif ready:
                found += self._take(min(ready, key=write.part), write)
            elif (left_s := until_s - self.clock_s()) > 0:
                self._read(MESSAGES_PER_POLL, left_s, waiting)
            else:
                break
        self._balance(waiting)
        return found

    def _ready(self, waiting: Collection[str]) -> set[str]:
        """Returns the topics with records in memory that may be written."""
        return self.ahead.queues.keys() - set(waiting)

    def _known(self) -> int:
        """Returns how many records a poll can bring at once, so that it waits for none that may not exist."""
        left = sum(number for topic, number in self.unread.items() if topic not in self.ahead.stopped)
        return max(1, min(MESSAGES_PER_POLL, left))

    def _take(self, topic: str, write: Shares) -> Sequence[Piece]:
        record = self.ahead.take(topic)
        pieces = self.decode([record])
        write.use(topic, sum(piece.rows for piece in pieces), len(record.value or b""))
        return pieces

    def _read(self, most: int, timeout_s: float, waiting: Collection[str]) -> float:
        """Reads records into memory; returns the seconds that this took."""
        began_s = self.clock_s()
        self._balance(waiting)
        records = self.source.read(most, timeout_s)
        self.ahead.add(records)
        self.silent -= {record.topic for record in records}
        self.unread = self.source.unread()
        return self.clock_s() - began_s

    def _balance(self, waiting: Collection[str]) -> None:
        """Stops reading the topics of which too much waits in memory."""
        sharing = self.ahead.queues.keys() | self.unread.keys() | set(waiting)
        self.source.stop_reading(self.ahead.topics_to_stop(len(sharing)))
