"""Dispatch: messages of a topic to pools of threads, bounded; their offsets are committed in order when done."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
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
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage
from shared.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)


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
    letters: DeadLetters
    pools: Pools
    job_of: Callable[[Record, Callable[[], None]], Job]
    """Of a message, and what is to be called once all it asks for is durable. Raises BadMessage: it is set aside."""
    in_flight_per_thread: int
    """Messages taken from the topic for each thread of the pools."""
    heartbeat: Heartbeat
    in_order: dict[TopicPartition, InOrder] = field(default_factory=lambda: defaultdict(InOrder))
    finished: SimpleQueue[tuple[InOrder, TopicPartition, int]] = field(default_factory=SimpleQueue)
    in_flight: int = 0
    next_telling_s: float = 0.0

    def run(self, topic: str, stop: Event) -> None:
        """Until stopped; what is under way then is finished, and what is not committed is read again."""
        DEAD_LETTERS.labels(topic)  # zero from the start
        self.consumer.subscribe([topic], on_revoke=self._revoked)
        while not stop.is_set():
            room = self.pools.threads() * self.in_flight_per_thread - self.in_flight
            if room > 0:
                for record in self.consumer.poll(min(room, 100), 0.1):
                    self._begin(record)
            else:
                self.consumer.wait_paused(0.1)
            self._commit_finished()
            self._tell(topic)
            self.heartbeat.progress()
        self.pools.close()
        self._commit_finished()
        self.consumer.close()

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Another fetcher goes on from the last commit; what we still finish of these counts for nothing."""
        for partition in partitions:
            self.in_order.pop(partition, None)

    def _begin(self, record: Record) -> None:
        in_order = self.in_order[record.topic_partition]
        in_order.take(record.offset)
        self.in_flight += 1
        done = partial(self.finished.put, (in_order, record.topic_partition, record.offset))
        try:
            job = self.job_of(record, done)
        except BadMessage as reason:
            self.letters.set_aside(record, str(reason))
            done()
        else:
            self.pools.submit(job.pool, partial(_guarded, job.work, record.origin))

    def _tell(self, topic: str) -> None:
        """At most once a second."""
        if monotonic() < self.next_telling_s:
            return
        self.next_telling_s = monotonic() + 1.0
        metrics.IN_HAND.labels(topic).set(self.in_flight)
        positions = self.consumer.position(self.consumer.assignment())
        metrics.LAG_FOUND.labels(topic).set(sum(self.consumer.lag(*position) for position in positions.items()))

    def _commit_finished(self) -> None:
        next_offsets: dict[TopicPartition, int] = {}
        while True:
            try:
                in_order, partition, offset = self.finished.get_nowait()
            except Empty:
                break
            self.in_flight -= 1
            moved = in_order.finish(offset)
            if moved is not None and self.in_order.get(partition) is in_order:
                next_offsets[partition] = moved
        if next_offsets:
            self.consumer.commit(next_offsets)


def _guarded(work: Callable[[], None], doing: str) -> None:
    with or_leave(doing):
        work()
