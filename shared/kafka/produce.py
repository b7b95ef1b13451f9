"""Writes records, durable before anybody relies on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Condition, Event, Thread

import confluent_kafka
from confluent_kafka import KafkaError

from shared.errors import Unreachable
from shared.messages import partition_of
from shared.topics import MESSAGE_MAX_BYTES, Topic


class Deliveries:
    """The delivery reports of one unit of work."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.outstanding = 0
        self.last_offset = -1
        self.failure: KafkaError | None = None

    def expect(self) -> None:
        with self.changed:
            self.outstanding += 1

    def report(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        with self.changed:
            self.outstanding -= 1
            self.failure = self.failure or error
            if error is None:
                self.last_offset = max(self.last_offset, message.offset() or 0)
            self.changed.notify_all()

    def wait(self) -> int:
        """The highest offset, when all are durable. librdkafka bounds the wait (delivery.timeout.ms).

        Raises:
            Unreachable: one was not delivered: none of the work counts as done.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.outstanding == 0)
            if self.failure is not None:
                raise Unreachable(f"Kafka did not take a message: {self.failure.str()}")
            return self.last_offset


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to a topic."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    """None takes the key out of a compacted topic."""
    headers: Mapping[str, str] = field(default_factory=dict)


def about_element(topic: Topic, element: str, key: str, value: bytes) -> Outgoing:
    """A message to the partition that all of the element's are in, whatever the topic."""
    return Outgoing(topic.name, partition_of(element), key, value)


class Producer:
    """One librdkafka producer with a thread that serves its delivery reports; may be shared by threads."""

    def __init__(self, brokers: str, delivery_timeout_ms: int = 120_000) -> None:
        self.producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                "compression.level": 1,
                "linger.ms": 20,
                "batch.size": 1 << 20,
                "queue.buffering.max.kbytes": 64 << 10,  # bounds memory: who sends more waits
                "message.max.bytes": MESSAGE_MAX_BYTES + 100_000,
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
        """Hand over a message; blocks while the producer's queue is full."""
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
            else:
                return

    def deliver(self, *messages: Outgoing) -> None:
        """Send, and wait until all are durable.

        Raises:
            Unreachable: Kafka did not take one.
        """
        deliveries = Deliveries()
        for message in messages:
            self.send(message, deliveries)
        deliveries.wait()

    def close(self) -> None:
        """Wait for what is under way, then stop."""
        self.producer.flush(30)
        self.closing.set()
        self.thread.join()
