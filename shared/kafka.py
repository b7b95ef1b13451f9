"""Kafka, the settings we must not get wrong: the only module that imports confluent_kafka.

Producers are idempotent and wait for all replicas. Consumers commit nothing by themselves: an offset is stored only
when the effect of its message is durable (DESIGN section 2.4).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from threading import Condition, Event, Thread

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from shared.errors import Unreachable
from shared.messages import SinkPosition
from shared.topics import MESSAGE_MAX_BYTES, Topic

__all__ = ["OFFSET_BEGINNING", "Consumer", "KafkaException", "Message", "TopicPartition"]

log = logging.getLogger(__name__)
SESSION_TIMEOUT_MS = 10_000
"""A killed member's partitions move on after this."""
NO_SUCH_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}


def consumer(brokers: str, group: str) -> Consumer:
    """A member of a group that reads from where the group is, first from the beginning."""
    return Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 2_000,
            "fetch.max.bytes": 16 << 20,
            "queued.max.messages.kbytes": 16 << 10,  # per process: bounds memory while a sink is slow
        }
    )


def follow_all(brokers: str, topic: Topic) -> Consumer:
    """A reader without a group: all partitions of a topic from their beginning."""
    reader = consumer(brokers, f"pmflow-reader-of-{topic.name}")
    reader.assign([TopicPartition(topic.name, p, OFFSET_BEGINNING) for p in range(topic.partitions)])
    return reader


def usable(messages: Iterable[Message | None]) -> list[Message]:
    """The messages without the consumer's notices; what librdkafka mends by itself is logged.

    Raises:
        KafkaException: it cannot mend it: no such topic, or a fatal error.
    """
    good = []
    for message in messages:
        if message is None:
            continue
        error = message.error()
        if error is None:
            good.append(message)
        elif error.fatal() or error.code() in NO_SUCH_TOPIC:
            raise KafkaException(error)
        else:
            log.warning("kafka notice", extra={"reason": error.str()})
    return good


def commit(reader: Consumer, offsets: Sequence[TopicPartition]) -> None:
    """Commit next offsets; a partition that is no longer ours is its new owner's business."""
    try:
        reader.commit(offsets=list(offsets), asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in {
            KafkaError.ILLEGAL_GENERATION,
            KafkaError.REBALANCE_IN_PROGRESS,
            KafkaError.UNKNOWN_MEMBER_ID,
            KafkaError._STATE,  # noqa: SLF001 - librdkafka's public name for it
            KafkaError._NO_OFFSET,  # noqa: SLF001
        }:
            raise
        log.warning("offsets not committed, their messages come again", extra={"reason": error.args[0].str()})


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

    def report(self, error: KafkaError | None, message: Message) -> None:
        with self.changed:
            self.outstanding -= 1
            self.failure = self.failure or error
            self.last_offset = max(self.last_offset, message.offset() if error is None else -1)
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


class KafkaProducer:
    """One librdkafka producer with a thread that serves its delivery reports; may be shared by threads."""

    def __init__(self, brokers: str) -> None:
        self.producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                "compression.level": 1,
                "linger.ms": 20,
                "batch.size": 1 << 20,
                "message.max.bytes": MESSAGE_MAX_BYTES + 100_000,
                "delivery.timeout.ms": 120_000,
            }
        )
        self.closing = Event()
        self.thread = Thread(target=self._serve, name="delivery-reports", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while not self.closing.is_set():
            self.producer.poll(0.2)

    def send(
        self,
        topic: str,
        partition: int,
        key: str,
        value: bytes,
        deliveries: Deliveries,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Hand over a message; blocks while the producer's queue is full."""
        deliveries.expect()
        while True:
            try:
                self.producer.produce(
                    topic,
                    value,
                    key,
                    partition,
                    on_delivery=deliveries.report,
                    headers=dict(headers) if headers else None,
                )
            except BufferError:
                self.producer.poll(0.1)
            else:
                return

    def close(self) -> None:
        """Wait for what is under way, then stop."""
        self.producer.flush(30)
        self.closing.set()
        self.thread.join()


def set_aside(producer: KafkaProducer, message: Message, reason: str) -> None:
    """Send a message that cannot be worked on to its topic's dead letters, and wait until it is there.

    Raises:
        Unreachable: Kafka did not take it; the message must not count as done.
    """
    headers = {
        "reason": reason[:2000],
        "origin": f"{message.topic()}/{message.partition()}/{message.offset()}",
    }
    key = (message.key() or b"").decode(errors="replace")
    deliveries = Deliveries()
    producer.send(f"{message.topic()}.dlq", message.partition(), key, message.value() or b"", deliveries, headers)
    deliveries.wait()
    log.error("message set aside in the dead letters", extra=headers)


def announce(producer: KafkaProducer, status: Topic, position: SinkPosition, deliveries: Deliveries) -> None:
    """Tell the ledger how far a sink is; into the partition where the files it completes are told of."""
    key = f"{position.sink}/{position.topic}/{position.partition}"
    producer.send(status.name, position.partition, key, position.encode(), deliveries)


def provision(brokers: str, topics: Iterable[Topic]) -> dict[str, str]:
    """Create what is missing, set what differs; name -> created | kept.

    Raises:
        KafkaException: a topic has another number of partitions, or the broker refused.
    """
    admin = AdminClient({"bootstrap.servers": brokers})
    wanted = {topic.name: topic for topic in topics}
    present = admin.list_topics(timeout=30).topics
    new = [topic for topic in wanted.values() if topic.name not in present]
    for name in wanted.keys() & present.keys():
        if len(present[name].partitions) != wanted[name].partitions:
            raise KafkaException(
                KafkaError(
                    KafkaError.INVALID_PARTITIONS,
                    f"{name} has {len(present[name].partitions)} partitions, must have {wanted[name].partitions}",
                )
            )
    created = admin.create_topics([NewTopic(t.name, t.partitions, config=t.config) for t in new]) if new else {}
    for future in created.values():
        future.result()
    kept = [wanted[name] for name in wanted.keys() & present.keys()]
    if kept:
        for future in admin.alter_configs([_config(topic) for topic in kept]).values():
            future.result()
    return {name: "created" if name in created else "kept" for name in sorted(wanted)}


def _config(topic: Topic) -> ConfigResource:
    return ConfigResource(ConfigResource.Type.TOPIC, topic.name, set_config=topic.config)
