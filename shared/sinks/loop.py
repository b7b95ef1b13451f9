"""The loop of a sink: batches of counters out of Kafka, into a database, its position told to the ledger.

Both sinks must behave alike for files to complete, so the loop is here and only the database differs. Three outcomes
for each value: stored, set aside in the dead letters with a reason, or (the process leaves and) read again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import monotonic, time
from typing import Annotated, Protocol

from shared.backoff import backoff_s
from shared.configuration.resolve import Number, Seconds
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage, CounterBatch, SetAside, SinkPosition, digest_of
from shared.metrics import DEAD_LETTERS
from shared.sinks import metrics
from shared.sinks.landing import Piece, land, pieces
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
FIRST_BACKOFF_S = 0.4
MESSAGES_AT_ONCE = 20
"""Of up to 1 MB each: a write goes no further beyond its limits."""


class Sink(Protocol):
    """What the loop needs of a database. One owner; may block."""

    name: str

    def resume(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take partitions over: where to read on, for those the database itself keeps a position of.

        Raises:
            Unreachable: the database does not answer now.
        """

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[TopicPartition, int]) -> None:
        """Make the batches durable, and with them the positions (next offsets).

        Raises:
            Unreachable: the database does not answer now; nothing is stored, or storing it again changes nothing.
            RefusedCounters: these counters can never be stored; without them the rest can.
            Hopeless: one of the rows can never be stored.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLimits:
    """How much is written at once."""

    batch_rows: Annotated[Number, "a write waits for no more rows"] = 20_000
    batch_bytes: Annotated[Number, "nor for more bytes of messages, as they are in Kafka's clients"] = 16_000_000
    batch_wait_s: Annotated[Seconds, "nor longer than this"] = 1.0
    announce_s: Annotated[Seconds, "between two announcements of the position"] = 1.0
    config_look_s: Annotated[Seconds, "between two looks whether systems came or went"] = 5.0
    longest_backoff_s: Annotated[Seconds, "between two tries while the database is away"] = 10.0


class SinkWorker:
    """One member of the sink's consumer group; it and its database connection belong to one thread."""

    def __init__(
        self, sink: Sink, consumer: Consumer, producer: Producer, limits: SinkLimits, heartbeat: Heartbeat
    ) -> None:
        self.sink = sink
        self.consumer = consumer
        self.producer = producer
        self.letters = DeadLetters(producer, sink.name)
        self.limits = limits
        self.heartbeat = heartbeat
        self.topics: Sequence[str] = ()
        self.ours: set[TopicPartition] = set()
        self.new: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.read_s: dict[TopicPartition, float] = {}
        """When the newest message that was read of a partition was sent."""
        self.untold: set[TopicPartition] = set()
        self.next_announcement_s = 0.0
        self.failures = 0
        metrics.WRITE_RETRIES.labels(sink.name)  # zero from the start

    def run(self, topics: Callable[[], Sequence[str]], stop: Event) -> None:
        """Until stopped, the topics as they are now. What is not durable at the end is read again by the next owner."""
        try:
            while not stop.is_set():
                self._subscribe(topics())
                self._take_up()
                if gathered := self._gathered():
                    land(partial(self._write, stop=stop), gathered, self._set_aside)
                self._announce()
                self._count_lag()
                self.heartbeat.progress()
        finally:
            self.consumer.close()

    def _subscribe(self, topics: Sequence[str]) -> None:
        if topics != self.topics:
            self.topics = topics
            for topic in topics:
                DEAD_LETTERS.labels(topic)  # zero from the start
            self.consumer.subscribe(topics, self._assigned, self._revoked)

    def _assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """No database in here: a rebalance waits for nobody. Reading starts in `_take_up`."""
        self.consumer.pause(partitions)
        self.new |= set(partitions)

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        gone = set(partitions)
        self.new -= gone
        self.ours -= gone
        self.untold -= gone
        for partition in gone:
            for gauge in (metrics.LAG, metrics.BEHIND):
                gauge.remove(self.sink.name, *partition)  # its new owner's to tell

    def _take_up(self) -> None:
        """Start reading newly assigned partitions where the database says, else where the group is."""
        if not self.new:
            return
        new = sorted(self.new)
        try:
            kept = self.sink.resume(new)
        except Unreachable as error:
            self._wait(error)
            return
        for partition, offset in kept.items():
            self.consumer.seek(partition, offset)
            self.positions[partition] = offset
        self.positions |= self.consumer.committed([partition for partition in new if partition not in kept])
        self.consumer.resume(new)
        self.new.clear()
        self.ours |= set(new)
        self.untold |= {partition for partition in new if self.positions[partition] >= 0}
        log.info("reading", extra={"sink": self.sink.name, "partitions": len(self.ours)})

    def _gathered(self) -> list[Piece]:
        """What is there, up to as much as one write takes; the time is over soon, so that a few rows wait no longer."""
        found: list[Piece] = []
        rows, size, left_s = 0, 0, self.limits.batch_wait_s
        until_s = monotonic() + left_s
        while rows < self.limits.batch_rows and size < self.limits.batch_bytes and left_s > 0:
            records = self.consumer.poll(MESSAGES_AT_ONCE, left_s)
            self.read_s |= {record.topic_partition: record.timestamp_s for record in records}
            more = pieces(records, self._set_aside)
            found += more
            rows += sum(piece.rows for piece in more)
            size += sum(len(record.value or b"") for record in records)
            left_s = until_s - monotonic()
        return found

    def _write(self, pieces: Sequence[Piece], stop: Event) -> None:
        """For as long as it takes; what is not written when stopped is read again by the next owner."""
        while not stop.is_set():
            # A rebalance may come while waiting.
            ours = [piece for piece in pieces if piece.topic_partition in self.ours]
            positions = {piece.topic_partition: piece.next_offset for piece in ours}
            if not ours:
                return
            batches = [piece.batch for piece in ours if piece.batch is not None]
            began_s = monotonic()
            try:
                with metrics.WRITE_SECONDS.labels(self.sink.name).time():
                    self.sink.write(batches, positions)
            except Unreachable as error:
                self._wait(error)
            else:
                self.failures = 0
                self._moved(positions)
                self._tell(batches, monotonic() - began_s)
                self.heartbeat.progress()  # parting refused batches takes many writes
                return

    def _set_aside(self, record: Record, content: bytes, reason: str) -> None:
        """One that cannot be set aside is not passed: Unreachable ends the process."""
        self.letters.set_aside(record, reason, content, self._told(record, content, reason))

    def _told(self, record: Record, content: bytes, reason: str) -> list[SetAside]:
        """What the ledger is to know of it; nothing of a message that names no file."""
        try:
            batch = CounterBatch.decode(content)
        except BadMessage:
            return []
        return [
            SetAside(
                sink=self.sink.name,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                file_id=batch.file_id,
                element=batch.element,
                values=batch.values,
                reason=reason,
                at_s=time(),
                content=digest_of(content),
            )
        ]

    def _tell(self, stored: Sequence[CounterBatch], took_s: float) -> None:
        """One line a write; it names the files, so that each can be followed to its rows."""
        rows = 0
        for batch in stored:
            labels = self.sink.name, batch.system
            metrics.STORED_BATCHES.labels(*labels).inc()
            metrics.STORED_ROWS.labels(*labels).inc(len(batch.rows))
            metrics.STORED_VALUES.labels(*labels).inc(len(batch.rows) * len(batch.counters))
            rows += len(batch.rows)
        if stored:
            metrics.WRITE_BATCHES.labels(self.sink.name).observe(len(stored))
            metrics.WRITE_ROWS.labels(self.sink.name).observe(rows)
            files = sorted({batch.file_id for batch in stored})
            sizes = {"batches": len(stored), "rows": rows, "took_s": round(took_s, 3)}
            log.info("stored", extra={"sink": self.sink.name, "files": files, **sizes})

    def _count_lag(self) -> None:
        for partition in self.ours:
            behind = self.consumer.lag(partition, self.positions[partition])
            metrics.LAG.labels(self.sink.name, *partition).set(behind)
            behind_s = time() - self.read_s[partition] if behind and partition in self.read_s else 0.0
            metrics.BEHIND.labels(self.sink.name, *partition).set(behind_s)

    def _moved(self, positions: Mapping[TopicPartition, int]) -> None:
        self.positions.update(positions)
        self.untold |= positions.keys()
        self.consumer.commit(positions)

    def _announce(self) -> None:
        if not self.untold or monotonic() < self.next_announcement_s:
            return
        self.next_announcement_s = monotonic() + self.limits.announce_s
        told = set(self.untold)
        self.producer.deliver(*(self._position(partition) for partition in told))
        self.untold -= told

    def _position(self, at: TopicPartition) -> Outgoing:
        """Goes to the partition of the ledger where the files it completes are told of."""
        topic, partition = at
        position = SinkPosition(sink=self.sink.name, topic=topic, partition=partition, next_offset=self.positions[at])
        return Outgoing(FILES_STATUS.name, partition, f"{self.sink.name}/{topic}/{partition}", position.encode())

    def _wait(self, error: Unreachable) -> None:
        """A pause inside the consumer group: polling goes on, so that nobody takes the partitions away."""
        self.failures += 1
        metrics.WRITE_RETRIES.labels(self.sink.name).inc()
        wait_s = backoff_s(self.failures, FIRST_BACKOFF_S, self.limits.longest_backoff_s)
        log.warning("waiting for the database", extra={"sink": self.sink.name, "reason": str(error), "wait_s": wait_s})
        self.consumer.wait_paused(wait_s)
        self._count_lag()
        self.heartbeat.progress()
