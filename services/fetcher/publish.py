"""KafkaProducerWorker publishes batches, quarantined blocks and statuses; its methods return when they are durable."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from services.fetcher.assemble.result import Quarantined
from shared.kafka.dead_letters import dead_letter
from shared.kafka.produce import Deliveries, Outgoing, Producer, about_element
from shared.kafka.record import TopicPartition
from shared.messages import FileFound, FileStatus, partition_of
from shared.topics import FILES_STATUS, counters_topic


@dataclass(frozen=True)
class KafkaProducerWorker:
    """A pool of librdkafka producers, shared by threads. See `worker.FilePublisher`."""

    producers: Sequence[Producer]

    def _producer(self, partition: int) -> Producer:
        """Returns the same producer for all messages of a partition, so that they keep their order."""
        return self.producers[partition % len(self.producers)]

    def counters(self, file: FileFound, batches: Iterable[bytes]) -> tuple[str, int, int, int]:
        topic, partition = counters_topic(file.system).name, partition_of(file.element)
        deliveries = Deliveries()
        for batch in batches:
            self._producer(partition).send(Outgoing(topic, partition, file.element, batch), deliveries)
        return topic, partition, *deliveries.wait()

    def quarantine(self, file: FileFound, blocks: Sequence[Quarantined]) -> None:
        at = TopicPartition(counters_topic(file.system).name, partition_of(file.element))
        deliveries = Deliveries()
        for block in blocks:
            letter = dead_letter(at, file.element, block.detail, block.reason, file.path)
            self._producer(at.partition).send(letter, deliveries)
        deliveries.wait()

    def fetching(self, files: Sequence[FileStatus]) -> None:
        """Publishes statuses without waiting: later ones of the same file are in the same partition, behind these."""
        unwatched = Deliveries()
        for status in files:
            message = _status_message(status)
            self._producer(message.partition).send(message, unwatched)

    def status(self, status: FileStatus) -> None:
        message = _status_message(status)
        self._producer(message.partition).deliver(message)

    def answer(self, status: FileStatus, then: Callable[[], None]) -> None:
        """Publishes a status; calls the function once it is durable."""
        self.status(status)
        then()


def _status_message(status: FileStatus) -> Outgoing:
    return about_element(FILES_STATUS, status.element, status.file_id, status.encode())
