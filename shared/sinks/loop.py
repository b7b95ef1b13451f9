"""The loop of a sink: batches of counters out of Kafka, into a database, its position told to the ledger.

Both sinks must behave alike for files to complete, so the loop is here and only the database differs. Three outcomes
for each value: stored, set aside in the dead letters with a reason, or (the process leaves and) read again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from time import monotonic, time
from typing import Annotated, Protocol

from shared import metrics
from shared.backoff import backoff_s
from shared.configuration.resolve import Number, Seconds
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka import (
    Consumer,
    KafkaProducer,
    Message,
    Outgoing,
    TopicPartition,
    commit,
    dead_letter,
    messages_after,
    origin,
    usable,
)
from shared.messages import BadMessage, CounterBatch, SetAside, SinkPosition, digest_of
from shared.sinks.landing import Piece, land, pieces
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
FIRST_BACKOFF_S = 0.4
MESSAGES_AT_ONCE = 20
"""Of up to 1 MB each: a write goes no further beyond its limits."""
Place = tuple[str, int]
"""A topic and one of its partitions."""


class Sink(Protocol):
    """What the loop needs of a database. One owner; may block."""

    name: str

    def resume(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """Take partitions over: where to read on, for those the database itself keeps a position of.

        Raises:
            Unreachable: the database does not answer now.
        """

    def write(self, batches: Sequence[CounterBatch], positions: Mapping[Place, int]) -> None:
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
        self, sink: Sink, consumer: Consumer, producer: KafkaProducer, limits: SinkLimits, heartbeat: Heartbeat
    ) -> None:
        self.sink = sink
        self.consumer = consumer
        self.producer = producer
        self.limits = limits
        self.heartbeat = heartbeat
        self.topics: Sequence[str] = ()
        self.ours: set[Place] = set()
        self.new: set[Place] = set()
        self.positions: dict[Place, int] = {}
        self.read_s: dict[Place, float] = {}
        """When the newest message that was read of a partition was sent."""
        self.untold: set[Place] = set()
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
                metrics.DEAD_LETTERS.labels(topic)  # zero from the start
            self.consumer.subscribe(
                list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """No database in here: a rebalance waits for nobody. Reading starts in `_take_up`."""
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self.new |= {(p.topic, p.partition) for p in partitions}

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(p.topic, p.partition) for p in partitions}
        self.new -= gone
        self.ours -= gone
        self.untold -= gone
        for place in gone:
            for gauge in (metrics.LAG, metrics.BEHIND):
                gauge.remove(self.sink.name, *place)  # its new owner's to tell
        consumer.incremental_unassign(partitions)

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
        partitions = [TopicPartition(topic, partition) for topic, partition in new]
        for place, offset in kept.items():
            self.consumer.seek(TopicPartition(*place, offset))
            self.positions[place] = offset
        others = [p for p in partitions if (p.topic, p.partition) not in kept]
        for committed in self.consumer.committed(others, timeout=30) if others else []:
            self.positions[committed.topic, committed.partition] = committed.offset
        self.consumer.resume(partitions)
        self.new.clear()
        self.ours |= set(new)
        self.untold |= {place for place in new if self.positions[place] >= 0}
        log.info("reading", extra={"sink": self.sink.name, "partitions": len(self.ours)})

    def _gathered(self) -> list[Piece]:
        """What is there, up to as much as one write takes; the time is over soon, so that a few rows wait no longer."""
        found: list[Piece] = []
        rows, size, left_s = 0, 0, self.limits.batch_wait_s
        until_s = monotonic() + left_s
        while rows < self.limits.batch_rows and size < self.limits.batch_bytes and left_s > 0:
            messages = usable(self.consumer.consume(MESSAGES_AT_ONCE, left_s))
            self.read_s |= {origin(m)[:2]: m.timestamp()[1] / 1000 for m in messages}
            more = pieces(messages, self._set_aside)
            found += more
            rows += sum(piece.rows for piece in more)
            size += sum(map(len, messages))
            left_s = until_s - monotonic()
        return found

    def _write(self, pieces: Sequence[Piece], stop: Event) -> None:
        """For as long as it takes; what is not written when stopped is read again by the next owner."""
        while not stop.is_set():
            ours = [piece for piece in pieces if _place(piece) in self.ours]  # a rebalance may come while waiting
            positions = {_place(piece): piece.next_offset for piece in ours}
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

    def _set_aside(self, message: Message, content: bytes, reason: str) -> None:
        letter = dead_letter(message, reason, content)
        letter = replace(letter, headers={**letter.headers, "sink": self.sink.name})
        told = self._told(message, content, reason)
        # One that cannot be set aside is not passed: Unreachable ends the process.
        self.producer.deliver(letter, *(_to_ledger(aside.partition, aside.key, aside) for aside in told))
        metrics.DEAD_LETTERS.labels(origin(message)[0]).inc()
        log.error("set aside", extra={"files": [aside.file_id for aside in told], **letter.headers})

    def _told(self, message: Message, content: bytes, reason: str) -> list[SetAside]:
        """What the ledger is to know of it; nothing of a message that names no file."""
        try:
            batch = CounterBatch.decode(content)
        except BadMessage:
            return []
        topic, partition, offset = origin(message)
        return [
            SetAside(
                sink=self.sink.name,
                topic=topic,
                partition=partition,
                offset=offset,
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
        for place in self.ours:
            behind = messages_after(self.consumer, TopicPartition(*place, self.positions[place]))
            metrics.LAG.labels(self.sink.name, *place).set(behind)
            behind_s = time() - self.read_s[place] if behind and place in self.read_s else 0.0
            metrics.BEHIND.labels(self.sink.name, *place).set(behind_s)

    def _moved(self, positions: Mapping[Place, int]) -> None:
        self.positions.update(positions)
        self.untold |= positions.keys()
        commit(self.consumer, [TopicPartition(*place, offset) for place, offset in positions.items()])

    def _announce(self) -> None:
        if not self.untold or monotonic() < self.next_announcement_s:
            return
        self.next_announcement_s = monotonic() + self.limits.announce_s
        told = set(self.untold)
        self.producer.deliver(*(self._position(place) for place in told))
        self.untold -= told

    def _position(self, place: Place) -> Outgoing:
        """Goes to the partition of the ledger where the files it completes are told of."""
        topic, partition = place
        position = SinkPosition(
            sink=self.sink.name, topic=topic, partition=partition, next_offset=self.positions[place]
        )
        return _to_ledger(partition, f"{self.sink.name}/{topic}/{partition}", position)

    def _wait(self, error: Unreachable) -> None:
        """A pause inside the consumer group: polling goes on, so that nobody takes the partitions away."""
        self.failures += 1
        metrics.WRITE_RETRIES.labels(self.sink.name).inc()
        wait_s = backoff_s(self.failures, FIRST_BACKOFF_S, self.limits.longest_backoff_s)
        log.warning("waiting for the database", extra={"sink": self.sink.name, "reason": str(error), "wait_s": wait_s})
        paused = [TopicPartition(*place) for place in self.ours]
        self.consumer.pause(paused)
        usable([self.consumer.poll(wait_s)])
        self.consumer.resume([p for p in paused if (p.topic, p.partition) in self.ours])
        self._count_lag()
        self.heartbeat.progress()


def _to_ledger(partition: int, key: str, record: SetAside | SinkPosition) -> Outgoing:
    return Outgoing(FILES_STATUS.name, partition, key, record.encode())


def _place(piece: Piece) -> Place:
    topic, partition, _ = origin(piece.message)
    return topic, partition
