"""Dispatch: passes the records of a topic to bounded pools of threads and commits their offsets in order."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from services.fetcher import metrics
from services.fetcher.intake.offsets import OffsetOrder
from services.fetcher.intake.pools import Pools
from shared.crash import exit_on_error
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, Refusal
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage
from shared.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """The work that a record asks for, and the pool that does it. Several records may share their work."""

    pool: str
    work: Callable[[], None]
    on_defect: Callable[[Defect], None] = lambda _: None
    """Called when the record is set aside because the work failed on it; publishes what that means for the file."""


@dataclass(kw_only=True)
class Dispatch:
    """One consumer and its thread; the threads of the pools do the work.

    Reading pauses while the pools are full: records that are not read stay in the topic.
    """

    consumer: Consumer
    letters: DeadLetters
    pools: Pools
    job_of: Callable[[Record, Callable[[], None]], Job]
    """Returns the job for a record; the second argument must be called once all its effects are durable.

    Raises BadMessage for a record that is then set aside.
    """
    in_flight_per_thread: int
    """Number of records read ahead for each thread of the pools."""
    heartbeat: Heartbeat
    budget: DefectBudget = field(default_factory=DefectBudget)
    renew: Callable[[], None] = nothing_to_renew
    """Forgets what may be outdated, before work that failed unexpectedly is tried once more."""
    refused: list[tuple[Refusal, Callable[[], None]]] = field(default_factory=list)
    """Records to set aside together, each with the function to call afterwards."""
    in_order: dict[TopicPartition, OffsetOrder] = field(default_factory=lambda: defaultdict(OffsetOrder))
    finished: SimpleQueue[tuple[OffsetOrder, TopicPartition, int]] = field(default_factory=SimpleQueue)
    in_flight: int = 0
    next_metrics_s: float = 0.0

    def run(self, topic: str, stop: Event) -> None:
        """Runs until stopped, then finishes work in progress. Records that are not committed are read again later."""
        DEAD_LETTERS.labels(topic)  # zero from the start
        self.consumer.subscribe([topic], on_revoke=self._revoked)
        while not stop.is_set():
            allowance = self.pools.threads() * self.in_flight_per_thread - self.in_flight
            if allowance > 0:
                for record in self.consumer.poll(min(allowance, 100), 0.1):
                    self._begin(record)
                self._set_aside_refused()
            else:
                self.consumer.wait_paused(0.1)
            self._commit_finished()
            self._set_metrics(topic)
            self.heartbeat.progress()
        self.pools.close()
        self._commit_finished()
        self.consumer.close()

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets the partitions: another fetcher continues from the last commit, so work on them no longer counts."""
        for partition in partitions:
            self.in_order.pop(partition, None)

    def _begin(self, record: Record) -> None:
        in_order = self.in_order[record.topic_partition]
        in_order.take(record.offset)
        self.in_flight += 1
        done = partial(self.finished.put, (in_order, record.topic_partition, record.offset))

        def begin() -> None:
            try:
                job = self.job_of(record, done)
            except BadMessage as reason:
                self.refused.append((Refusal(record, str(reason)), done))
            else:
                self.pools.submit(job.pool, partial(_guarded, partial(self._contain, record, job, done), record))

        self._contain(record, Job("", begin), done)

    def _contain(self, record: Record, job: Job, done: Callable[[], None]) -> None:
        """Does the work for a record; if it fails unexpectedly twice, the record is set aside."""
        failed: list[Record] = []

        def set_aside(record: Record, defect: Defect) -> None:
            self.letters.set_aside_defect(record, defect)
            job.on_defect(defect)
            failed.append(record)

        contained = Contained(
            lambda _: job.work(), self.renew, set_aside, self.budget, lambda r: r.origin, NO_RECORDS_FAULT
        )
        contained([record])
        if failed:
            done()

    def _set_aside_refused(self) -> None:
        if self.refused:
            self.letters.write([refusal for refusal, _ in self.refused])
            for _, done in self.refused:
                done()
            self.refused.clear()

    def _set_metrics(self, topic: str) -> None:
        """Sets the gauges, at most once a second."""
        if monotonic() < self.next_metrics_s:
            return
        self.next_metrics_s = monotonic() + 1.0
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


def _guarded(work: Callable[[], None], record: Record) -> None:
    with exit_on_error(record.origin):
        work()
