"""The loop of a sink: reads batches of counters from Kafka, stores them, and announces its position to the ledger.

Both sinks must behave alike for files to complete, so they share the loop and only the database differs. Each value has
one of three outcomes: stored, set aside in the dead letters with a reason, or read again (after the process exits).
A topic of which the database takes nothing waits by itself, while the others are written
(docs/decisions/0029-fair-shares-in-the-sinks.md).
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from time import monotonic

from shared.backoff import backoff_s
from shared.defects import PLANNED, Contained, Defect, DefectBudget, nothing_to_renew
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, Refusal
from shared.kafka.produce import Producer
from shared.kafka.record import Record, TopicPartition
from shared.messages import CounterBatch, bounded_text
from shared.metrics import DEAD_LETTERS
from shared.sinks import metrics
from shared.sinks.announcer import Announcer
from shared.sinks.gaps import GapWatch
from shared.sinks.gather import Gatherer
from shared.sinks.landing import Piece, land, pieces_of
from shared.sinks.limits import SinkLimits
from shared.sinks.outcomes import report_stored, report_waiting, report_working, set_aside_records
from shared.sinks.positions import PositionsMoved
from shared.sinks.reader import OwnedPartitions
from shared.sinks.sink import Sink
from shared.sinks.waiting_topics import FIRST_BACKOFF_S, WaitingTopics

log = logging.getLogger(__name__)
CHECK_S = 10.0
"""Interval between writes, or checks of the database if there is nothing to write."""
POLL_AFTER_S = 30.0
"""Longest time between two polls while a write is split; a member that does not poll for 300 s loses its partitions."""
MOST_PENDING_LETTERS = 500


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
    new: set[TopicPartition] = field(default_factory=set)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    next_check_s: float = field(default_factory=lambda: monotonic() + CHECK_S)
    failures: int = 0
    pending: dict[tuple[str, bytes], Refusal] = field(default_factory=dict)
    """Origin and content -> what was refused and is not in the dead letters yet; no position passes it before."""
    passed: dict[TopicPartition, int] = field(default_factory=dict)
    """Positions after messages set aside because of a defect; stored with the next write."""

    def __post_init__(self) -> None:
        self.letters = DeadLetters(self.producer, self.sink.name)
        self.announcer = Announcer(self.sink.name, self.producer, self.limits.announce_s)
        self.gaps = GapWatch(self.sink.name, self.consumer.range_of, self.announcer.publish_gap)
        self.owned = OwnedPartitions(self.consumer, self.gaps)
        self.gatherer = Gatherer(self.owned, self._pieces, self.limits)
        self.waiting = WaitingTopics(self.limits.longest_backoff_s)
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
                self._store_next(contained)
                self._flush()
                self._check()
                self.announcer.announce(self.positions)
                self._count_lag()
                self.heartbeat.progress()
        finally:
            self.consumer.close()

    def _store_next(self, contained: Contained[Piece]) -> None:
        """Gathers and stores the messages of one write; then tries the topics that wait and are due."""
        wait_s = self.waiting.gather_s(monotonic(), self.limits.batch_wait_s)
        pieces = self.gatherer.gather(wait_s, self.waiting.waits)
        contained(pieces)
        for topic in self.waiting.due(monotonic(), is_idle=not pieces):
            contained(self.waiting.take(topic))
            self.waiting.tried(topic)

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
        self.new -= set(partitions)
        self._forget(partitions)
        for partition in partitions:
            for gauge in (metrics.LAG, metrics.BEHIND, metrics.HELD_MESSAGES):
                gauge.remove(self.sink.name, *partition)  # the new owner reports them

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets partitions that are no longer owned, with everything that was read of them and is not stored."""
        self.owned.drop(partitions)
        self.gatherer.ahead.drop(partitions)
        self.waiting.drop(partitions)
        self.announcer.moved.difference_update(partitions)
        for partition in partitions:
            self.passed.pop(partition, None)

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
        self.owned.partitions.update(new)
        self.announcer.moved |= {partition for partition in new if self.positions[partition] >= 0}
        log.info("reading partitions", extra={"sink": self.sink.name, "partitions": len(self.owned.partitions)})
        if corrected:
            self._try_write([], corrected)  # if it fails, the next message moves the position

    def _check(self) -> None:
        """Checks database and topics while nothing arrives: lost commits are written again, gaps are passed."""
        if monotonic() < self.next_check_s or not self._try_write([], {}):
            return
        in_hand = {*self.gatherer.ahead.counts, *self.waiting.counts(), *self.passed}
        waiting = {at: self.positions[at] for at in self.owned.partitions - in_hand}
        waiting = {at: position for at, position in waiting.items() if self.consumer.lag(at, position)}
        try:
            if corrected := self.gaps.starting_points(waiting):
                self._try_write([], corrected)
        except Unreachable as error:
            log.warning("topics not checked", extra={"sink": self.sink.name, "reason": str(error)})

    def _pieces(self, records: Sequence[Record]) -> list[Piece]:
        """Decodes records; one on which the decoder fails unexpectedly is set aside like any other defect."""
        found: list[Piece] = []
        self.owned.taken_s |= {record.topic_partition: record.timestamp_s for record in records}

        def decode(some: Sequence[Record]) -> None:
            found.extend(pieces_of(some, self._set_aside))

        def give_up(record: Record, defect: Defect) -> None:
            self.letters.set_aside_defect(record, defect)
            found.append(Piece(record, None))

        Contained(decode, nothing_to_renew, give_up, self.budget, lambda r: r.origin)(records)
        return found

    def _write(self, pieces: Sequence[Piece], stop: Event) -> None:
        """Writes the pieces, retrying while the database is away; what it takes of no single topic waits by itself.

        If it is stopped before, the next owner reads them again.
        """
        while not stop.is_set():
            self._stay_in_group()
            left = self.waiting.writable(self._owned(pieces))  # a rebalance may happen while waiting
            began_s = monotonic()
            try:
                self._store_pieces(left, {at.topic for at in self.owned.partitions})
            except PositionsMoved as error:
                self._read_again(error)
                continue
            except Unreachable as error:
                if not self._is_there():
                    self._wait(error)
                    continue
                self._write_each_topic(left, error, monotonic() - began_s)
            return

    def _owned(self, pieces: Sequence[Piece]) -> list[Piece]:
        return [piece for piece in pieces if piece.topic_partition in self.owned.partitions]

    def _is_there(self) -> bool:
        """Returns whether the database answers at all."""
        try:
            self.sink.resume([])
        except Unreachable:
            return False
        return True

    def _write_each_topic(self, pieces: Sequence[Piece], error: Unreachable, took_s: float) -> None:
        """Tries each topic of a write that failed alone, once; those that fail wait by themselves."""
        by_topic = defaultdict[str, list[Piece]](list)
        for piece in pieces:
            by_topic[piece.record.topic].append(piece)
        if len(by_topic) == 1:
            self._hold(pieces, error, took_s)
            return
        for topic, own in by_topic.items():
            self._stay_in_group()
            began_s = monotonic()
            try:
                self._store_pieces(self._owned(own), {topic})
            except PositionsMoved as moved:
                self._read_again(moved)
            except Unreachable as failure:
                self._hold(own, failure, monotonic() - began_s)

    def _hold(self, pieces: Sequence[Piece], error: Unreachable, took_s: float) -> None:
        """Lets the topic of these pieces wait."""
        topic = pieces[0].record.topic
        wait_s = self.waiting.hold(topic, self._owned(pieces), took_s, monotonic())
        metrics.WRITE_RETRIES.labels(self.sink.name).inc()
        metrics.TOPIC_WAITS.labels(self.sink.name, topic).inc()
        where = {"sink": self.sink.name, "topic": topic, "wait_s": wait_s}
        log.warning("topic waits for the database", extra={**where, "reason": str(error)})

    def _store_pieces(self, pieces: Sequence[Piece], topics: Collection[str]) -> None:
        """Stores pieces, and the positions in these topics that were passed before. Raises as `Sink.write` does."""
        passed = {at: offset for at, offset in self.passed.items() if at.topic in topics}
        passed = {at: offset for at, offset in passed.items() if not self.waiting.has(at.topic)}
        positions = passed | {piece.topic_partition: piece.next_offset for piece in pieces}
        if not positions:
            return
        if passed or any(piece.ends for piece in pieces):
            self._flush()
        self._store([piece.batch for piece in pieces if piece.batch is not None], positions)
        for partition in passed:
            self.passed.pop(partition, None)

    def _try_write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> bool:
        """Returns whether the write succeeded; otherwise it must be tried again."""
        try:
            self._store(batches, positions)
        except Unreachable as error:
            self._wait(error)
            return False
        except PositionsMoved as error:
            self._read_again(error)
            return False
        return True

    def _store(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        began_s = monotonic()
        self.next_check_s = began_s + CHECK_S
        with metrics.WRITE_SECONDS.labels(self.sink.name).time():
            self.sink.write(batches, positions)
        self.failures = 0
        report_working(self.sink.name)
        if positions:
            self._advance(positions)
            report_stored(self.sink.name, batches, monotonic() - began_s)

    def _read_again(self, error: PositionsMoved) -> None:
        """Reads partitions again from the positions that the database has, and announces these at once."""
        moved = self.owned.partitions & error.moved.keys()
        log.warning("position moved in the database", extra={"sink": self.sink.name, "positions": str(error)})
        self.consumer.pause(sorted(moved))
        self._forget(moved)
        self.new |= moved
        self.announcer.next_s = 0.0

    def _stay_in_group(self) -> None:
        """Shows progress and polls now and then: splitting refused batches takes many writes."""
        self.heartbeat.progress()
        if monotonic() - self.owned.polled_s > POLL_AFTER_S:
            self.owned.wait(0.05)

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
            if piece.topic_partition in self.owned.partitions:
                self.passed[piece.topic_partition] = piece.next_offset

    def _count_lag(self) -> None:
        held_back = self.gatherer.ahead.counts + self.waiting.counts()
        self.owned.count_lag(self.sink.name, self.positions, held_back)

    def _advance(self, positions: Mapping[TopicPartition, int]) -> None:
        self.positions.update(positions)
        self.announcer.moved |= positions.keys()
        self.consumer.commit(positions)

    def _wait(self, error: Unreachable) -> None:
        """Pauses inside the consumer group: polling continues, so that the group does not take the partitions away."""
        self.failures += 1
        wait_s = backoff_s(self.failures, FIRST_BACKOFF_S, self.limits.longest_backoff_s)
        report_waiting(self.sink.name, str(error), wait_s)
        self.owned.wait(wait_s)
        self._count_lag()
        self.heartbeat.progress()
