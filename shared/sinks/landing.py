"""Splits batches that a database refuses until only what it can never store is set aside; the rest is stored."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.errors import Hopeless
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage, CounterBatch
from shared.topics import MESSAGE_MAX_BYTES

CounterKey = tuple[str, str, str]
"""System, group, measType."""
NOT_ALLOWED = "unknown, and is-auto-adding-column is false"
"""The reason for a counter that must not get a column."""
MOST_FAILED_WRITES = 100
"""Failed writes of the parts of one message after which a part that fails is not split any further.

It finds a handful of bad rows among thousands, and ends soon if all are bad.
"""


class RefusedCounters(Hopeless):
    """These counters cannot be stored, the others can. Of this write, some rows may be stored already."""

    def __init__(self, reasons: Mapping[CounterKey, str]) -> None:
        super().__init__(f"{len(reasons)} counters refused: {'; '.join(sorted(set(reasons.values())))}")
        self.reasons = reasons


class RefusedBatches(Hopeless):
    """These batches can never be stored, whatever rows they have; the others can. Nothing of the write is stored."""

    def __init__(self, reasons: Sequence[tuple[CounterBatch, str]]) -> None:
        super().__init__(f"{len(reasons)} batches refused: {'; '.join(sorted({reason for _, reason in reasons}))}")
        self.reasons = reasons


def refuse(batches: Iterable[CounterBatch], problem_of: Callable[[CounterBatch], str]) -> None:
    """Checks batches before they are written.

    Args:
        batches: of any systems.
        problem_of: returns why the database can never store a batch; an empty text if it can.

    Raises:
        RefusedBatches: some can never be stored.
    """
    if reasons := [(batch, problem) for batch in batches if (problem := problem_of(batch))]:
        raise RefusedBatches(reasons)


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
    def contents(self) -> Sequence[bytes]:
        """The bytes to set aside: the original ones of a whole message, else the part encoded anew."""
        if self.batch is None or (self.starts and self.ends):
            return [self.record.value or b""]
        return fitting(self.batch) or [self.record.value or b""]


def fitting(batch: CounterBatch, most_bytes: int = MESSAGE_MAX_BYTES) -> list[bytes]:
    """Returns messages with these rows that are not larger than a topic takes; none if a single row is.

    Numbers may be longer after they are encoded anew: `1e15` becomes `1000000000000000.0`.
    """
    content = batch.encode()
    if len(content) <= most_bytes:
        return [content]
    middle = len(batch.rows) // 2
    if not middle:
        return []
    halves = [fitting(replace(batch, rows=rows), most_bytes) for rows in (batch.rows[:middle], batch.rows[middle:])]
    return halves[0] + halves[1] if all(halves) else []


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
    _Landing(write, set_aside).land(pieces)


@dataclass(frozen=True, slots=True)
class _Landing:
    """One call of `land`."""

    write: WritePieces
    set_aside: SetAsidePiece
    failures: Counter[str] = field(default_factory=Counter)
    """Origin of a record -> failed writes of its parts alone."""

    def land(self, pieces: Sequence[Piece]) -> None:
        try:
            self.write(pieces)
        except RefusedCounters as refused:
            self.land([self._without(piece, refused.reasons) for piece in pieces])
        except RefusedBatches as refused:
            reasons = {id(batch): reason for batch, reason in refused.reasons}
            self.land([self._refused(p, reasons[id(p.batch)]) if id(p.batch) in reasons else p for p in pieces])
        except Hopeless as reason:
            if len(pieces) == 1 and pieces[0].batch is None:
                raise  # a position alone: no data that could be set aside
            self._split(pieces, str(reason))

    def _split(self, pieces: Sequence[Piece], reason: str) -> None:
        if len(pieces) == 1:
            self.failures[pieces[0].record.origin] += 1
        halves = _halves(pieces) if self.failures[pieces[0].record.origin] <= MOST_FAILED_WRITES else ()
        for half in halves:
            self.land(half)
        if not halves:
            for piece in pieces:
                passed = self._refused(piece, reason)
                if passed.ends:
                    self.write([passed])

    def _refused(self, piece: Piece, reason: str) -> Piece:
        """Sets a piece aside; returns what is left of it, its position."""
        for content in piece.contents:
            self.set_aside(piece.record, content, reason)
        return replace(piece, batch=None)

    def _without(self, piece: Piece, reasons: Mapping[CounterKey, str]) -> Piece:
        """Sets the values of refused counters aside; returns the piece with all other counters."""
        batch = piece.batch
        if batch is None:
            return piece
        refused = {c: reasons[key] for c in batch.counters if (key := (batch.system, batch.group, c)) in reasons}
        if not refused:
            return piece
        refused_part, rest = split_counters(batch, refused)
        names = ", ".join(sorted(refused)[:10])
        why = f"counters {names}: {'; '.join(sorted(set(refused.values())))}"
        for content in fitting(refused_part) or [piece.record.value or b""]:
            self.set_aside(piece.record, content, why)
        return replace(piece, batch=rest if rest.counters else None, starts=False)


def _halves(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], ...]:
    """Splits the pieces in two, or the rows of a single piece; returns nothing for a single row."""
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return pieces[:middle], pieces[middle:]
    (piece,) = pieces
    if piece.batch is None or piece.rows < 2:
        return ()
    rows, middle = piece.batch.rows, piece.rows // 2
    first = replace(piece, batch=replace(piece.batch, rows=rows[:middle]), ends=False)
    return [first], [replace(piece, batch=replace(piece.batch, rows=rows[middle:]), starts=False)]


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
