"""Writes records, and waits until they are durable or has a function called then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Condition, Event, Thread

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from shared.configuration.kafka import Kafka
from shared.errors import Hopeless, MustExit, Unreachable
from shared.kafka.reach import LOG_LEVEL, ClientErrors
from shared.messages import FileFound, Settle, partition_of
from shared.topics import FILES_FOUND, FILES_SETTLE, LETTER_MAX_BYTES, Topic


class TooLarge(Hopeless):
    """A record is larger than its topic or this client accepts; nothing of it is written."""


class ProducerFailed(MustExit):
    """The producer has failed for good, and only a new one can send again."""


class Deliveries:
    """The delivery reports of one unit of work."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.outstanding = 0
        self.first_offset = -1
        self.last_offset = -1
        self.failure: KafkaError | None = None
        self.next_step: Callable[[], None] | None = None

    def expect(self) -> None:
        with self.changed:
            self.outstanding += 1

    def report(self, error: KafkaError | None, message: confluent_kafka.Message | None) -> None:
        with self.changed:
            self.outstanding -= 1
            self.failure = self.failure or error
            if error is None and message is not None:
                offset = message.offset() or 0
                self.first_offset = offset if self.first_offset < 0 else min(self.first_offset, offset)
                self.last_offset = max(self.last_offset, offset)
            next_step = None if self.outstanding else self.next_step
            self.changed.notify_all()
        if next_step:
            next_step()

    def then(self, next_step: Callable[[], None]) -> None:
        """Calls a function, once, when all records have been reported, which is at once if they have been already.

        The function runs in the thread that serves delivery reports, so it must neither block nor send records; it
        asks `offsets` for the outcome. No more records may be sent with these deliveries.
        """
        with self.changed:
            self.next_step = next_step
            is_over = self.outstanding == 0
        if is_over:
            next_step()

    def wait(self) -> tuple[int, int]:
        """Waits until all records have been reported; returns and raises what `offsets` does.

        `delivery.timeout.ms` bounds the wait.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.outstanding == 0)
        return self.offsets()

    def offsets(self) -> tuple[int, int]:
        """Returns the lowest and the highest offset of records that have all been reported, -1 if there are none.

        Raises:
            Unreachable: a record was not delivered; none of the work counts as done.
            TooLarge: the topic does not accept a record because of its size.
            ProducerFailed: nothing can be sent any more.
        """
        if self.failure is None:
            return self.first_offset, self.last_offset
        reason = f"Kafka did not take a record: {self.failure.str()}"
        if self.failure.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise TooLarge(reason)
        if self.failure.fatal() or self.failure.code() == KafkaError._FATAL:  # noqa: SLF001 - its public name
            raise ProducerFailed(reason)
        raise Unreachable(reason)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written to a topic."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    """None: a tombstone, which deletes the key from a compacted topic."""
    headers: Mapping[str, str] = field(default_factory=dict)


def about_element(topic: Topic, element: str, key: str, value: bytes) -> Outgoing:
    """Returns a record for the partition of an element, which has the same number in every topic."""
    return Outgoing(topic.name, partition_of(element), key, value)


def announcement_of(file: FileFound) -> Outgoing:
    """Returns the record that announces a file to the fetcher that has the file's host."""
    return Outgoing(FILES_FOUND.name, file.fetcher_partition, file.element, file.encode())


def command_of(settle: Settle) -> Outgoing:
    """Returns the record that commands the move of a file to the fetcher that has the file's host."""
    return Outgoing(FILES_SETTLE.name, settle.status.fetcher_partition, settle.file_id, settle.encode())


class Producer:
    """A Kafka producer with a thread that handles its delivery reports. Threads may share it."""

    def __init__(self, brokers: Kafka, delivery_timeout_ms: int = 120_000) -> None:
        self.errors = ClientErrors(brokers)
        self.producer = confluent_kafka.Producer(
            {
                **brokers.client(),
                "error_cb": self.errors,
                "log_level": LOG_LEVEL,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                "compression.level": 1,
                "linger.ms": 20,
                "batch.size": 1 << 20,
                "queue.buffering.max.kbytes": 64 << 10,  # bounds memory: `send` blocks while the queue is full
                "message.max.bytes": LETTER_MAX_BYTES,
                "delivery.timeout.ms": delivery_timeout_ms,
            }
        )
        self.closing = Event()
        self.thread = Thread(target=self._serve, name="delivery-reports", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while not self.closing.is_set():
            self.producer.poll(0.2)

    def send(self, message: Outgoing, deliveries: Deliveries) -> None:
        """Queues a record; blocks while the queue of the producer is full. `deliveries` gets to know of any failure."""
        deliveries.expect()
        while True:
            try:
                self.producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    message.partition,
                    on_delivery=deliveries.report,
                    headers=dict(message.headers),
                )
            except BufferError:
                self.producer.poll(0.1)
            except KafkaException as error:
                deliveries.report(error.args[0], None)
                return
            else:
                return

    def deliver(self, *messages: Outgoing) -> None:
        """Sends records and waits until all are durable.

        Raises:
            Unreachable: Kafka did not take a record.
            TooLarge: a record is too large.
        """
        deliveries = Deliveries()
        for message in messages:
            self.send(message, deliveries)
        deliveries.wait()

    def close(self) -> None:
        """Waits for records that are still queued, then stops."""
        self.producer.flush(30)
        self.closing.set()
        self.thread.join()
