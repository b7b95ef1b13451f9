"""KafkaProducerWorker publishes batches, quarantined blocks and statuses. Nothing waits for its own delivery.

See docs/decisions/0025-nothing-waits-for-its-own-delivery.md.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from time import monotonic

from services.fetcher.assemble.result import Quarantined
from shared.crash import exit_on_error
from shared.errors import Hopeless, Unreachable
from shared.kafka.dead_letters import dead_letter
from shared.kafka.produce import Deliveries, Outgoing, Producer, about_element
from shared.kafka.record import TopicPartition
from shared.messages import FileFound, FileStatus, partition_of
from shared.topics import FILES_STATUS, counters_topic

log = logging.getLogger(__name__)
RETRY_S = 1.0
"""Wait before a status that Kafka did not take is sent again."""


@dataclass(frozen=True, slots=True)
class PublishedBatches:
    """The batches of a file in the topic."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    """-1: there is no batch."""


class NextSteps:
    """Runs what follows deliveries, in a thread of its own: it may send records, which a delivery report may not."""

    def __init__(self) -> None:
        self.ready: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.later: deque[tuple[float, Callable[[], None]]] = deque()
        """Steps that wait for a time; owned by the thread."""
        self.expected = 0
        self.changed = Condition()
        Thread(target=self._run, name="next-steps", daemon=True).start()

    def expect(self) -> None:
        """Announces a step that is added later: `wait` waits for it."""
        with self.changed:
            self.expected += 1

    def add(self, step: Callable[[], None]) -> None:
        """Adds a step that is expected."""
        self.ready.put(step)

    def repeat(self, step: Callable[[], None], wait_s: float) -> None:
        """Adds another step, which runs after a while; called by a step, always with the same time."""
        self.expect()
        self.later.append((monotonic() + wait_s, step))

    def wait(self, timeout_s: float) -> bool:
        """Waits until no step is expected; returns whether that is so in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.expected == 0, timeout_s)

    def _run(self) -> None:
        with exit_on_error("publish"):
            while True:
                self._next()()
                with self.changed:
                    self.expected -= 1
                    self.changed.notify_all()

    def _next(self) -> Callable[[], None]:
        """Waits for the next step; one whose time has come precedes the others."""
        left_s = self.later[0][0] - monotonic() if self.later else None
        if left_s is None or left_s > 0:
            with suppress(Empty):
                return self.ready.get(timeout=left_s)
        return self.later.popleft()[1]


class KafkaProducerWorker:
    """A pool of librdkafka producers, shared by threads. See `worker.FilePublisher`."""

    def __init__(self, producers: Sequence[Producer], retry_s: float = RETRY_S) -> None:
        self.producers = producers
        self.retry_s = retry_s
        self.steps = NextSteps()

    def _producer(self, partition: int) -> Producer:
        """Returns the same producer for all messages of a partition, so that they keep their order."""
        return self.producers[partition % len(self.producers)]

    def content(
        self,
        file: FileFound,
        blocks: Sequence[Quarantined],
        batches: Iterable[bytes],
        then: Callable[[PublishedBatches | Hopeless | Unreachable], None],
    ) -> None:
        at = TopicPartition(counters_topic(file.system).name, partition_of(file.element))
        letters, counters = Deliveries(), Deliveries()
        for block in blocks:
            letter = dead_letter(at, file.element, block.detail, block.reason, file.path)
            self._producer(at.partition).send(letter, letters)
        for batch in batches:
            self._producer(at.partition).send(Outgoing(*at, file.element, batch), counters)

        def outcome() -> PublishedBatches | Hopeless | Unreachable:
            try:
                letters.offsets()
                return PublishedBatches(*at, *counters.offsets())
            except (Hopeless, Unreachable) as failure:
                return failure

        self.steps.expect()
        step = partial(self.steps.add, lambda: then(outcome()))
        letters.then(partial(counters.then, step))

    def fetching(self, files: Sequence[FileStatus]) -> None:
        unwatched = Deliveries()
        for status in files:
            message = _status_message(status)
            self._producer(message.partition).send(message, unwatched)

    def answer(self, status: FileStatus, then: Callable[[], None]) -> None:
        self.steps.expect()
        self._send(status, then)

    def _send(self, status: FileStatus, then: Callable[[], None]) -> None:
        deliveries, message = Deliveries(), _status_message(status)
        self._producer(message.partition).send(message, deliveries)
        deliveries.then(partial(self.steps.add, partial(self._answered, status, deliveries, then)))

    def _answered(self, status: FileStatus, deliveries: Deliveries, then: Callable[[], None]) -> None:
        try:
            deliveries.offsets()
        except Unreachable as error:
            extra = {"file": status.file_id, "stage": status.stage, "reason": str(error)}
            log.warning("status not delivered, it is sent again", extra=extra)
            self.steps.repeat(partial(self.answer, status, then), self.retry_s)
        else:
            then()

    def flush(self, timeout_s: float) -> bool:
        """Waits until everything is durable and what follows has run; returns whether that is so in time."""
        return self.steps.wait(timeout_s)


def _status_message(status: FileStatus) -> Outgoing:
    return about_element(FILES_STATUS, status.element, status.file_id, status.encode())
