"""Dispatch: messages of a topic to pools of threads, bounded; their offsets are committed in order when done."""

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from services.fetcher import metrics
from services.fetcher.intake.offsets import InOrder
from services.fetcher.intake.pools import Pools
from shared.crash import or_leave
from shared.health import Heartbeat
from shared.kafka import (
    Consumer,
    KafkaProducer,
    Message,
    TopicPartition,
    commit,
    dead_letter,
    messages_after,
    origin,
    usable,
)
from shared.messages import BadMessage
from shared.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done for a message, and by which pool. It may be done along with another's."""

    pool: str
    work: Callable[[], None]


@dataclass(kw_only=True)
class Dispatch:
    """One consumer, one thread; the work is done by the pools' threads.

    A pool that is full pauses the reading: what is not taken stays in the topic.
    """

    consumer: Consumer
    producer: KafkaProducer
    """For dead letters."""
    pools: Pools
    job_of: Callable[[Message, Callable[[], None]], Job]
    """Of a message, and what is to be called once all it asks for is durable. Raises BadMessage: it is set aside."""
    in_flight_per_thread: int
    """Messages taken from the topic for each thread of the pools."""
    heartbeat: Heartbeat
    in_order: dict[Place, InOrder] = field(default_factory=lambda: defaultdict(InOrder))
    finished: SimpleQueue[tuple[InOrder, Place, int]] = field(default_factory=SimpleQueue)
    in_flight: int = 0
    next_telling_s: float = 0.0

    def run(self, topic: str, stop: Event) -> None:
        """Until stopped; what is under way then is finished, and what is not committed is read again."""
        DEAD_LETTERS.labels(topic)  # zero from the start
        self.consumer.subscribe([topic], on_revoke=self._revoked, on_lost=self._revoked)
        while not stop.is_set():
            room = self.pools.threads() * self.in_flight_per_thread - self.in_flight
            if room > 0:
                for message in usable(self.consumer.consume(min(room, 100), 0.1)):
                    self._begin(message)
            else:
                self._wait_for_room()
            self._commit_finished()
            self._tell(topic)
            self.heartbeat.progress()
        self.pools.close()
        self._commit_finished()
        self.consumer.close()

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Another fetcher goes on from the last commit; what we still finish of these counts for nothing."""
        for partition in partitions:
            self.in_order.pop((partition.topic, partition.partition), None)

    def _begin(self, message: Message) -> None:
        topic, partition, offset = origin(message)
        place = topic, partition
        in_order = self.in_order[place]
        in_order.take(offset)
        self.in_flight += 1
        done = partial(self.finished.put, (in_order, place, offset))
        try:
            job = self.job_of(message, done)
        except BadMessage as reason:
            letter = dead_letter(message, str(reason))
            self.producer.deliver(letter)
            DEAD_LETTERS.labels(topic).inc()
            log.error("message set aside", extra=dict(letter.headers))  # noqa: TRY400 - says it all
            done()
        else:
            self.pools.submit(job.pool, partial(_guarded, job.work, f"{topic}/{partition}/{offset}"))

    def _tell(self, topic: str) -> None:
        """At most once a second."""
        if monotonic() < self.next_telling_s:
            return
        self.next_telling_s = monotonic() + 1.0
        metrics.IN_HAND.labels(topic).set(self.in_flight)
        places = self.consumer.position(self.consumer.assignment())
        metrics.LAG_FOUND.labels(topic).set(sum(messages_after(self.consumer, place) for place in places))

    def _wait_for_room(self) -> None:
        """Until some work is finished; the consumer stays in its group meanwhile."""
        self.consumer.pause(self.consumer.assignment())
        usable([self.consumer.poll(0.1)])
        self.consumer.resume(self.consumer.assignment())

    def _commit_finished(self) -> None:
        next_offsets: dict[Place, int] = {}
        while True:
            try:
                in_order, place, offset = self.finished.get_nowait()
            except Empty:
                break
            self.in_flight -= 1
            moved = in_order.finish(offset)
            if moved is not None and self.in_order.get(place) is in_order:
                next_offsets[place] = moved
        if next_offsets:
            commit(self.consumer, [TopicPartition(*place, offset) for place, offset in next_offsets.items()])


def _guarded(work: Callable[[], None], doing: str) -> None:
    with or_leave(doing):
        work()
