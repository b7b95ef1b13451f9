"""Topics that the database does not take while it takes others: each waits by itself. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from shared.backoff import backoff_s
from shared.kafka.record import TopicPartition
from shared.sinks.landing import Piece

FIRST_BACKOFF_S = 0.4
REST_PER_TRY = 4
"""A try that failed after a long time rests this many times as long, so that others keep four fifths of the time."""


@dataclass(slots=True)
class Wait:
    """The wait of one topic."""

    failures: int = 0
    until_s: float = 0.0
    rests_until_s: float = 0.0
    """Time before which it is tried only if no other topic has messages."""
    pieces: list[Piece] = field(default_factory=list)
    """Pieces to store, in the order of each partition. None: they are being tried."""


@dataclass
class WaitingTopics:
    """Topics that wait, each with what is left of the write that failed. Later messages of them are not written."""

    longest_backoff_s: float
    waits: dict[str, Wait] = field(default_factory=dict)

    def hold(self, topic: str, pieces: Iterable[Piece], took_s: float, now_s: float) -> float:
        """Lets a topic wait after a try that failed and took so long; returns the seconds until the next one."""
        wait = self.waits.setdefault(topic, Wait())
        wait.failures += 1
        wait_s = backoff_s(wait.failures, FIRST_BACKOFF_S, self.longest_backoff_s)
        wait.until_s = now_s + wait_s
        wait.rests_until_s = now_s + max(wait_s, REST_PER_TRY * took_s)
        self._keep(wait, pieces)
        return wait_s

    def has(self, topic: str) -> bool:
        """Returns whether something of a topic waits."""
        wait = self.waits.get(topic)
        return wait is not None and bool(wait.pieces)

    def writable(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Returns the pieces that may be written; keeps those of waiting topics, behind what waits of them already.

        A piece that is kept already is not kept twice: a write that fails in part is repeated.
        """
        found = []
        for piece in pieces:
            if self.has(piece.record.topic):
                self._keep(self.waits[piece.record.topic], [piece])
            else:
                found.append(piece)
        return found

    def due(self, now_s: float, *, is_idle: bool) -> list[str]:
        """Returns the topics to try now; `is_idle`: no other topic has messages."""
        return [t for t, wait in self.waits.items() if now_s >= (wait.until_s if is_idle else wait.rests_until_s)]

    def gather_s(self, now_s: float, longest_s: float) -> float:
        """Returns how long to gather messages: until a topic may be tried, at most so long.

        A topic that may be tried already only waits until the others have nothing, so it shortens nothing.
        """
        return min([longest_s, *(wait.until_s - now_s for wait in self.waits.values() if wait.until_s > now_s)])

    def take(self, topic: str) -> list[Piece]:
        """Returns the pieces of a topic to try them; what fails must be held again."""
        wait = self.waits[topic]
        pieces, wait.pieces = wait.pieces, []
        return pieces

    def tried(self, topic: str) -> None:
        """Ends the wait of a topic unless something of it waits again."""
        if not self.waits[topic].pieces:
            del self.waits[topic]

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Removes the pieces of partitions that another sink reads from now on, or that are read again."""
        for wait in self.waits.values():
            wait.pieces = [piece for piece in wait.pieces if piece.topic_partition not in partitions]

    def counts(self) -> Counter[TopicPartition]:
        """Returns the number of messages that wait, by partition."""
        return Counter(p.topic_partition for wait in self.waits.values() for p in wait.pieces if p.ends)

    def _keep(self, wait: Wait, pieces: Iterable[Piece]) -> None:
        last = {piece.topic_partition: piece for piece in wait.pieces}
        for piece in pieces:
            before = last.get(piece.topic_partition)
            if before is not None and is_kept(before, piece):
                continue
            if before is not None and piece.starts and before.record == piece.record:  # begins again, split otherwise
                wait.pieces = [kept for kept in wait.pieces if kept.record != piece.record]
            wait.pieces.append(piece)
            last[piece.topic_partition] = piece


def is_kept(last: Piece, piece: Piece) -> bool:
    """Returns whether a piece is not behind the last one that is kept of its partition."""
    offset = piece.record.offset
    return offset < last.record.offset or (offset == last.record.offset and last.ends)
