"""The loop of a sink: reads batches of counters from Kafka, stores them, and announces its position to the ledger.

Both sinks must behave alike for files to complete, so they share the loop and only the database differs. Each value has
one of three outcomes: stored, set aside in the dead letters with a reason, or read again (after the process exits).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from time import monotonic, time
from typing import Annotated, Protocol

from shared.backoff import backoff_s
from shared.configuration.resolve import Number, Seconds
from shared.defects import PLANNED, Contained, Defect, DefectBudget, nothing_to_renew
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, Refusal
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record, TopicPartition
from shared.ledger import OffsetGap
from shared.messages import CounterBatch, SinkPosition, bounded_text
from shared.metrics import DEAD_LETTERS
from shared.sinks import metrics
from shared.sinks.gaps import GapWatch
from shared.sinks.landing import Piece, land, pieces_of
from shared.sinks.outcomes import report_stored, report_waiting, report_working, set_aside_records
from shared.sinks.positions import PositionsMoved
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
FIRST_BACKOFF_S = 0.4
CHECK_S = 10.0
"""Interval between writes, or checks of the database if there is nothing to write."""
MESSAGES_PER_POLL = 20
"""Messages are up to 1 MB each; this is how far a write can exceed its limits."""
POLL_AFTER_S = 30.0
"""Longest time between two polls while a write is split; a member that does not poll for 300 s loses its partitions."""
MOST_PENDING_LETTERS = 500


class Sink(Protocol):
    """The database as the loop uses it. It belongs to one thread; its methods may block."""

    name: str

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Takes partitions over and returns where to resume, for those whose position the database itself stores.

        Raises:
            Unreachable: the database does not answer now.
        """

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        """Stores the batches durably, together with the positions (next offsets).

        Raises:
            Unreachable: the database does not answer now; nothing is stored, or storing it again changes nothing.
            PositionsMoved: the database is not in the state that this sink left; nothing is stored.
            RefusedCounters: these counters can never be stored; the others can.
            RefusedBatches: these batches can never be stored; the others can.
            Hopeless: one of the rows can never be stored.
        """

    def renew(self) -> None:
        """Forgets everything it remembers of the database and closes its connections; it opens new ones when needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLimits:
    """Limits of one write, and the intervals of the loop."""

    batch_rows: Annotated[Number, "a write stops gathering at this many rows"] = 20_000
    batch_bytes: Annotated[Number, "a write stops gathering at this many bytes of messages (uncompressed)"] = 16_000_000
    batch_wait_s: Annotated[Seconds, "a write stops gathering after this time"] = 1.0
    announce_s: Annotated[Seconds, "interval between announcements of the position"] = 1.0
    config_look_s: Annotated[Seconds, "interval between checks for added and removed systems"] = 5.0
    longest_backoff_s: Annotated[Seconds, "between two tries while the database is away"] = 10.0


@dataclass
class SinkWorker:
    """One member of the sink's consumer group; it and its database connection belong to one thread."""

    sink: Sink
    consumer: Consumer
    producer: Producer
    limits: SinkLimits
    heartbeat: Heartbeat
    budget: DefectBudget = field(default_factory=DefectBudget)
    topics: Sequence[str] = ()
    owned: set[TopicPartition] = field(default_factory=set)
    new: set[TopicPartition] = field(default_factory=set)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    read_s: dict[TopicPartition, float] = field(default_factory=dict)
    """Time at which the newest message read from a partition was sent."""
    unannounced: set[TopicPartition] = field(default_factory=set)
    next_announcement_s: float = 0.0
    next_check_s: float = field(default_factory=lambda: monotonic() + CHECK_S)
    failures: int = 0
    polled_s: float = field(default_factory=monotonic)
    pending: dict[tuple[str, bytes], Refusal] = field(default_factory=dict)
    """Origin and content -> what was refused and is not in the dead letters yet; no position passes it before."""
    passed: dict[TopicPartition, int] = field(default_factory=dict)
    """Positions after messages set aside because of a defect; stored with the next write."""

    def __post_init__(self) -> None:
        self.letters = DeadLetters(self.producer, self.sink.name)
        self.gaps = GapWatch(self.sink.name, self.consumer.range_of, self._publish_gap)
        metrics.WRITE_RETRIES.labels(self.sink.name)  # exists with 0 from the start

    def run(self, topics: Callable[[], Sequence[str]], stop: Event) -> None:
        """Runs until stopped. What is not durable by then is read again by the next owner.

        Args:
            topics: returns the topics to read, which may change at any time.
            stop: ends the loop.
        """
        write = partial(self._write, stop=stop)

        def store(pieces: Sequence[Piece]) -> None:
            land(write, pieces, self._set_aside)

        give_up = partial(self._set_aside_defect, write)
        contained = Contained(store, self.sink.renew, give_up, self.budget, lambda p: p.record.origin)
        try:
            while not stop.is_set():
                self._subscribe(topics())
                self._start_reading()
                contained(self._gather())
                self._flush()
                self._check()
                self._announce()
                self._count_lag()
                self.heartbeat.progress()
        finally:
            self.consumer.close()

    def _subscribe(self, topics: Sequence[str]) -> None:
        if topics != self.topics:
            self.topics = topics
            for topic in topics:
                DEAD_LETTERS.labels(topic)  # exists with 0 from the start
            self.consumer.subscribe(topics, self._assigned, self._revoked)

    def _assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Does not touch the database, which would block the rebalance. Reading starts in `_start_reading`."""
        self.consumer.pause(partitions)
        self.new |= set(partitions)

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        gone = set(partitions)
        self.new -= gone
        self.owned -= gone
        self.unannounced -= gone
        for partition in gone:
            self.passed.pop(partition, None)
            for gauge in (metrics.LAG, metrics.BEHIND):
                gauge.remove(self.sink.name, *partition)  # the new owner reports them

    def _start_reading(self) -> None:
        """Starts reading newly assigned partitions at the database's position, else at the consumer group's."""
        if not self.new:
            return
        new = sorted(self.new)
        try:
            stored = self.sink.resume(new)
            begins = {**stored, **self.consumer.committed([partition for partition in new if partition not in stored])}
            corrected = self.gaps.starting_points(begins)
        except Unreachable as error:
            self._wait(error)
            return
        for partition, offset in {**stored, **corrected}.items():
            self.consumer.seek(partition, offset)
        self.positions |= begins
        self.consumer.resume(new)
        self.new.clear()
        self.owned |= set(new)
        self.unannounced |= {partition for partition in new if self.positions[partition] >= 0}
        log.info("reading partitions", extra={"sink": self.sink.name, "partitions": len(self.owned)})
        if corrected:
            self._try_write([], corrected)  # if it fails, the next message moves the position

    def _check(self) -> None:
        """Checks database and topics while nothing arrives: lost commits are written again, gaps are passed."""
        if monotonic() < self.next_check_s or not self._try_write([], {}):
            return
        waiting = {at: self.positions[at] for at in self.owned - self.passed.keys()}
        waiting = {at: position for at, position in waiting.items() if self.consumer.lag(at, position)}
        try:
            if corrected := self.gaps.starting_points(waiting):
                self._try_write([], corrected)
        except Unreachable as error:
            log.warning("topics not checked", extra={"sink": self.sink.name, "reason": str(error)})

    def _gather(self) -> list[Piece]:
        """Returns the messages of one write: up to the limits of rows and bytes, or after `batch_wait_s`."""
        found: list[Piece] = []
        rows, size, left_s = 0, 0, self.limits.batch_wait_s
        until_s = monotonic() + left_s
        while rows < self.limits.batch_rows and size < self.limits.batch_bytes and left_s > 0:
            records = self.consumer.poll(MESSAGES_PER_POLL, left_s)
            self.polled_s = monotonic()
            self.gaps.check(records)
            self.read_s |= {record.topic_partition: record.timestamp_s for record in records}
            more = self._pieces(records)
            found += more
            rows += sum(piece.rows for piece in more)
            size += sum(len(record.value or b"") for record in records)
            left_s = until_s - monotonic()
        return found

    def _pieces(self, records: Sequence[Record]) -> list[Piece]:
        """Decodes records; one on which the decoder fails unexpectedly is set aside like any other defect."""
        found: list[Piece] = []

        def decode(some: Sequence[Record]) -> None:
            found.extend(pieces_of(some, self._set_aside))

        def give_up(record: Record, defect: Defect) -> None:
            self.letters.set_aside_defect(record, defect)
            found.append(Piece(record, None))

        Contained(decode, nothing_to_renew, give_up, self.budget, lambda r: r.origin)(records)
        return found

    def _write(self, pieces: Sequence[Piece], stop: Event) -> None:
        """Writes the pieces, retrying until it succeeds or is stopped: then the next owner reads them again."""
        while not stop.is_set():
            self._stay_in_group()
            # A rebalance may happen while waiting.
            owned = [piece for piece in pieces if piece.topic_partition in self.owned]
            positions = self.passed | {piece.topic_partition: piece.next_offset for piece in owned}
            if not positions:
                return
            if self.passed or any(piece.ends for piece in owned):
                self._flush()
            batches = [piece.batch for piece in owned if piece.batch is not None]
            if self._try_write(batches, positions):
                self.passed.clear()
                return

    def _try_write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> bool:
        """Returns whether the write succeeded; otherwise it must be tried again."""
        began_s = monotonic()
        self.next_check_s = began_s + CHECK_S
        try:
            with metrics.WRITE_SECONDS.labels(self.sink.name).time():
                self.sink.write(batches, positions)
        except Unreachable as error:
            self._wait(error)
            return False
        except PositionsMoved as error:
            self._read_again(error)
            return False
        self.failures = 0
        report_working(self.sink.name)
        if positions:
            self._advance(positions)
            report_stored(self.sink.name, batches, monotonic() - began_s)
        return True

    def _read_again(self, error: PositionsMoved) -> None:
        """Reads partitions again from the positions that the database has, and announces these at once."""
        moved = self.owned & error.moved.keys()
        log.warning("position moved in the database", extra={"sink": self.sink.name, "positions": str(error)})
        self.consumer.pause(sorted(moved))
        self.owned -= moved
        self.unannounced -= moved
        self.new |= moved
        for partition in moved:
            self.passed.pop(partition, None)
        self.next_announcement_s = 0.0

    def _publish_gap(self, gap: OffsetGap) -> None:
        self.producer.deliver(Outgoing(FILES_STATUS.name, gap.partition, gap.key, gap.encode()))

    def _stay_in_group(self) -> None:
        """Shows progress and polls now and then: splitting refused batches takes many writes."""
        self.heartbeat.progress()
        if monotonic() - self.polled_s > POLL_AFTER_S:
            self.consumer.wait_paused(0.05)
            self.polled_s = monotonic()

    def _set_aside(self, record: Record, content: bytes, reason: str) -> None:
        """Keeps content for the dead letters; they are written together before the position passes the record."""
        entries = set_aside_records(self.sink.name, record, content, bounded_text(reason))
        self.pending[record.origin, content] = Refusal(record, reason, content, entries)
        if len(self.pending) >= MOST_PENDING_LETTERS:
            self._flush()

    def _flush(self) -> None:
        """Writes the dead letters. If that fails, Unreachable ends the process before the position moves."""
        if self.pending:
            self.letters.write([*self.pending.values()])
            self.pending.clear()

    def _set_aside_defect(self, write: Callable[[Sequence[Piece]], None], piece: Piece, defect: Defect) -> None:
        """Sets a message aside on which the code fails; stores the position after it, now or with the next write."""
        content = piece.record.value or b""
        entries = set_aside_records(self.sink.name, piece.record, content, bounded_text(defect.reason))
        self.letters.write([Refusal(piece.record, defect.reason, content, entries, defect.traceback)])
        try:
            write([replace(piece, batch=None)])
        except PLANNED:
            raise
        except Exception:
            log.exception("position not stored yet", extra={"origin": piece.record.origin})
            self.sink.renew()
            if piece.topic_partition in self.owned:
                self.passed[piece.topic_partition] = piece.next_offset

    def _count_lag(self) -> None:
        for partition in self.owned:
            behind = self.consumer.lag(partition, self.positions[partition])
            metrics.LAG.labels(self.sink.name, *partition).set(behind)
            behind_s = time() - self.read_s[partition] if behind and partition in self.read_s else 0.0
            metrics.BEHIND.labels(self.sink.name, *partition).set(behind_s)

    def _advance(self, positions: Mapping[TopicPartition, int]) -> None:
        self.positions.update(positions)
        self.unannounced |= positions.keys()
        self.consumer.commit(positions)

    def _announce(self) -> None:
        if not self.unannounced or monotonic() < self.next_announcement_s:
            return
        self.next_announcement_s = monotonic() + self.limits.announce_s
        announced = set(self.unannounced)
        self.producer.deliver(*(self._position(partition) for partition in announced))
        self.unannounced -= announced

    def _position(self, at: TopicPartition) -> Outgoing:
        """Returns the position's record; it goes to the ledger partition that holds the files it completes."""
        topic, partition = at
        position = SinkPosition(sink=self.sink.name, topic=topic, partition=partition, next_offset=self.positions[at])
        return Outgoing(FILES_STATUS.name, partition, f"{self.sink.name}/{topic}/{partition}", position.encode())

    def _wait(self, error: Unreachable) -> None:
        """Pauses inside the consumer group: polling continues, so that the group does not take the partitions away."""
        self.failures += 1
        wait_s = backoff_s(self.failures, FIRST_BACKOFF_S, self.limits.longest_backoff_s)
        report_waiting(self.sink.name, str(error), wait_s)
        self.consumer.wait_paused(wait_s)
        self.polled_s = monotonic()
        self._count_lag()
        self.heartbeat.progress()
