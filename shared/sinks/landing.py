"""What becomes of batches a database refuses: they are parted until only what it can never store is set aside."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import Hopeless
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage, CounterBatch

Counter = tuple[str, str, str]
"""System, group, measType."""
NOT_ALLOWED = "unknown, and is-auto-adding-column is false"
"""Why a counter has no place."""


class RefusedCounters(Hopeless):
    """These counters have no place in the database; nothing of the write is stored for sure, the rest can be."""

    def __init__(self, reasons: Mapping[Counter, str]) -> None:
        super().__init__(f"{len(reasons)} counters refused: {'; '.join(sorted(set(reasons.values())))}")
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Piece:
    """What is still to be stored of a record."""

    record: Record
    batch: CounterBatch | None
    """None: nothing but its position."""
    starts: bool = True
    ends: bool = True
    """Whether it holds all of the message from its start, and up to its end."""

    @property
    def rows(self) -> int:
        return len(self.batch.rows) if self.batch else 0

    @property
    def topic_partition(self) -> TopicPartition:
        return self.record.topic_partition

    @property
    def next_offset(self) -> int:
        """The position once it is written: beyond the message only with its end."""
        return self.record.offset + self.ends

    @property
    def content(self) -> bytes:
        """Of a whole message its bytes, unchanged."""
        if self.batch is None or (self.starts and self.ends):
            return self.record.value or b""
        return self.batch.encode()


Write = Callable[[Sequence[Piece]], None]
SetAside = Callable[[Record, bytes, str], None]
"""Make a message's content, or a part of it (again a CounterBatch), durable elsewhere, with the reason."""


def pieces(records: Iterable[Record], set_aside: SetAside) -> list[Piece]:
    """Messages as they were read; one that is no batch is set aside, and only its position is left to store."""
    found = []
    for record in records:
        content = record.value or b""
        try:
            found.append(Piece(record, CounterBatch.decode(content)))
        except BadMessage as reason:
            set_aside(record, content, str(reason))
            found.append(Piece(record, None))
    return found


def land(write: Write, pieces: Sequence[Piece], set_aside: SetAside) -> None:
    """Write all pieces, in their order; what is refused for good is set aside before its message's position passes."""
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
                raise  # a position alone: no data to blame
            set_aside(piece.record, piece.content, str(reason))
            write([replace(piece, batch=None)])


def _halves(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], ...]:
    """Of the messages, then of a message's rows; none of a single row."""
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return pieces[:middle], pieces[middle:]
    (piece,) = pieces
    if piece.batch is None or piece.rows < 2:
        return ()
    rows, middle = piece.batch.rows, piece.rows // 2
    first = Piece(piece.record, replace(piece.batch, rows=rows[:middle]), piece.starts, ends=False)
    return [first], [Piece(piece.record, replace(piece.batch, rows=rows[middle:]), starts=False, ends=piece.ends)]


def _without(piece: Piece, reasons: Mapping[Counter, str], set_aside: SetAside) -> Piece:
    batch = piece.batch
    if batch is None:
        return piece
    refused = {c: reasons[key] for c in batch.counters if (key := (batch.system, batch.group, c)) in reasons}
    if not refused:
        return piece
    aside, kept = parted(batch, refused)
    names = ", ".join(sorted(refused)[:10])
    set_aside(piece.record, aside.encode(), f"counters {names}: {'; '.join(sorted(set(refused.values())))}")
    return replace(piece, batch=kept if kept.counters else None, starts=False)


def parted(batch: CounterBatch, counters: Collection[str]) -> tuple[CounterBatch, CounterBatch]:
    """The batch with these counters alone, in the rows that have a value of one; and with all others."""
    inside = [at for at, counter in enumerate(batch.counters) if counter in counters]
    outside = [at for at, counter in enumerate(batch.counters) if counter not in counters]
    aside, kept = _with(batch, inside), _with(batch, outside)
    return replace(aside, rows=[row for row in aside.rows if any(v is not None for v in row[2:])]), kept


def _with(batch: CounterBatch, places: Sequence[int]) -> CounterBatch:
    rows: Iterator[list[Any]] = ([*row[:2], *(row[2 + at] for at in places)] for row in batch.rows)
    return replace(batch, counters=[batch.counters[at] for at in places], rows=list(rows))
