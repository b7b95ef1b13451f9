"""Splits batches that a database refuses until only what it can never store is set aside; the rest is stored."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import Hopeless
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage, CounterBatch

CounterKey = tuple[str, str, str]
"""System, group, measType."""
NOT_ALLOWED = "unknown, and is-auto-adding-column is false"
"""The reason for a counter that must not get a column."""


class RefusedCounters(Hopeless):
    """These counters cannot be stored, the others can. Of this write, some rows may be stored already."""

    def __init__(self, reasons: Mapping[CounterKey, str]) -> None:
        super().__init__(f"{len(reasons)} counters refused: {'; '.join(sorted(set(reasons.values())))}")
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a Kafka record that is not stored yet."""

    record: Record
    batch: CounterBatch | None
    """None: only the position of the record is left to store."""
    starts: bool = True
    ends: bool = True
    """`starts`: it holds everything from the start of the message; `ends`: everything up to its end."""

    @property
    def rows(self) -> int:
        return len(self.batch.rows) if self.batch else 0

    @property
    def topic_partition(self) -> TopicPartition:
        return self.record.topic_partition

    @property
    def next_offset(self) -> int:
        """The position after this piece is written; it passes the message only with the message's last piece."""
        return self.record.offset + self.ends

    @property
    def content(self) -> bytes:
        """The bytes to set aside: the original ones of a whole message, else the part encoded anew."""
        if self.batch is None or (self.starts and self.ends):
            return self.record.value or b""
        return self.batch.encode()


WritePieces = Callable[[Sequence[Piece]], None]
SetAsidePiece = Callable[[Record, bytes, str], None]
"""Makes a message's content, or a part of it (again a CounterBatch), durable elsewhere, with the reason."""


def pieces_of(records: Iterable[Record], set_aside: SetAsidePiece) -> list[Piece]:
    """Returns one piece per record. A record that is not a batch is set aside: only its position is left to store."""
    found = []
    for record in records:
        content = record.value or b""
        try:
            found.append(Piece(record, CounterBatch.decode(content)))
        except BadMessage as reason:
            set_aside(record, content, str(reason))
            found.append(Piece(record, None))
    return found


def land(write: WritePieces, pieces: Sequence[Piece], set_aside: SetAsidePiece) -> None:
    """Writes all pieces in order; what the database refuses for good is set aside before the position passes it.

    Raises:
        Hopeless: the database refuses a position alone, without any data.
    """
    try:
        write(pieces)
    except RefusedCounters as refused:
        land(write, [_without(piece, refused.reasons, set_aside) for piece in pieces], set_aside)
    except Hopeless as reason:
        halves = _halves(pieces)
        for half in halves:
            land(write, half, set_aside)
        if not halves:
            (piece,) = pieces
            if piece.batch is None:
                raise  # a position alone: no data that could be set aside
            set_aside(piece.record, piece.content, str(reason))
            write([replace(piece, batch=None)])


def _halves(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], ...]:
    """Splits the pieces in two, or the rows of a single piece; returns nothing for a single row."""
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return pieces[:middle], pieces[middle:]
    (piece,) = pieces
    if piece.batch is None or piece.rows < 2:
        return ()
    rows, middle = piece.batch.rows, piece.rows // 2
    first = Piece(piece.record, replace(piece.batch, rows=rows[:middle]), piece.starts, ends=False)
    return [first], [Piece(piece.record, replace(piece.batch, rows=rows[middle:]), starts=False, ends=piece.ends)]


def _without(piece: Piece, reasons: Mapping[CounterKey, str], set_aside: SetAsidePiece) -> Piece:
    batch = piece.batch
    if batch is None:
        return piece
    refused = {c: reasons[key] for c in batch.counters if (key := (batch.system, batch.group, c)) in reasons}
    if not refused:
        return piece
    refused_part, rest = split_counters(batch, refused)
    names = ", ".join(sorted(refused)[:10])
    set_aside(piece.record, refused_part.encode(), f"counters {names}: {'; '.join(sorted(set(refused.values())))}")
    return replace(piece, batch=rest if rest.counters else None, starts=False)


def split_counters(batch: CounterBatch, counters: Collection[str]) -> tuple[CounterBatch, CounterBatch]:
    """Splits a batch by counters.

    Returns:
        The batch with these counters only, without rows that have no value of any; the batch with all other counters.
    """
    inside = [at for at, counter in enumerate(batch.counters) if counter in counters]
    outside = [at for at, counter in enumerate(batch.counters) if counter not in counters]
    chosen, rest = _with(batch, inside), _with(batch, outside)
    return replace(chosen, rows=[row for row in chosen.rows if any(v is not None for v in row[2:])]), rest


def _with(batch: CounterBatch, positions: Sequence[int]) -> CounterBatch:
    rows: Iterator[list[Any]] = ([*row[:2], *(row[2 + at] for at in positions)] for row in batch.rows)
    return replace(batch, counters=[batch.counters[at] for at in positions], rows=list(rows))
