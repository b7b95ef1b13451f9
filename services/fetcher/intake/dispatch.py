"""Dispatch: passes the records of topics to pools of threads, each at its own pace; commits offsets in order."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from services.fetcher import metrics
from services.fetcher.intake.offsets import OffsetOrder
from services.fetcher.intake.topic_intake import TopicIntake
from services.fetcher.intake.waiting_records import TakenRecord
from shared.crash import exit_on_error
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, TooManyDefects, nothing_to_renew
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import Refusal
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage
from shared.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)
MOST_AT_ONCE = 500
"""Most records that are read before those that are finished are committed."""
LAST_DELIVERIES_S = 20.0
"""Longest wait for deliveries before the process ends."""


@dataclass(kw_only=True)
class Dispatch:
    """One consumer and its thread; the threads of the pools do the work.

    Reading of a topic pauses only while as many of its records wait as may: the other topics are read on.
    """

    consumer: Consumer
    intakes: Sequence[TopicIntake]
    """The topics that are read."""
    flush: Callable[[float], bool]
    """Waits at most so many seconds until all effects are durable; returns whether they are."""
    heartbeat: Heartbeat
    budget: DefectBudget = field(default_factory=DefectBudget)
    renew: Callable[[], None] = nothing_to_renew
    """Forgets what may be outdated, before work that failed unexpectedly is tried once more."""
    on_partitions: Callable[[Collection[TopicPartition]], None] = lambda _: None
    """Called with all partitions that are ours, whenever they have changed."""
    refused: list[tuple[Refusal, Callable[[], None]]] = field(default_factory=list)
    """Records to set aside together, each with the function to call afterwards."""
    in_order: dict[TopicPartition, OffsetOrder] = field(default_factory=lambda: defaultdict(OffsetOrder))
    partitions: set[TopicPartition] = field(default_factory=set)
    finished: SimpleQueue[tuple[TakenRecord, str]] = field(default_factory=SimpleQueue)
    """Records whose effects are durable, each with the pool that worked on it; empty: none did."""
    next_metrics_s: float = 0.0

    def run(self, stop: Event) -> None:
        """Runs until stopped, then finishes work in progress. Records that are not committed are read again later."""
        topics = [intake.topic for intake in self.intakes]
        for topic in topics:
            DEAD_LETTERS.labels(topic)  # zero from the start
        self.consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked)
        while not stop.is_set():
            self._read()
            self._commit_finished()
            self._begin_waiting()
            self._set_metrics()
            self.heartbeat.progress()
        for intake in self.intakes:
            intake.pools.close()
        if not self.flush(LAST_DELIVERIES_S):
            log.warning("stopped before all deliveries, their records are read again", extra={"topics": topics})
        self._commit_finished()
        self.consumer.close()

    def _assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.partitions.update(partitions)
        paused = {intake.topic for intake in self.intakes if intake.is_paused}
        self.consumer.pause([partition for partition in partitions if partition.topic in paused])
        self._report_partitions()

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets the partitions: another fetcher continues from the last commit, so work on them no longer counts."""
        self.partitions.difference_update(partitions)
        for partition in partitions:
            self.in_order.pop(partition, None)
        for intake in self.intakes:
            intake.drop(set(partitions))
        self._report_partitions()

    def _report_partitions(self) -> None:
        numbers = {
            i.topic: [at.partition for at in sorted(self.partitions) if at.topic == i.topic] for i in self.intakes
        }
        log.info("partitions changed", extra={"partitions": numbers})
        self.on_partitions(self.partitions)

    def _read(self) -> None:
        """Adds records to those that wait, as many as may."""
        self._pause_full()
        rooms = [intake.room for intake in self.intakes if not intake.is_paused]
        if not rooms:
            self.consumer.wait_paused(0.1)
            return
        for record in self.consumer.poll(min(*rooms, MOST_AT_ONCE), 0.1):
            self._take(record)
        self._set_aside_refused()

    def _pause_full(self) -> None:
        """Pauses the topics of which as many records wait as may, and resumes the others."""
        for intake in self.intakes:
            if intake.must_pause() != intake.is_paused:
                intake.is_paused = not intake.is_paused
                change = self.consumer.pause if intake.is_paused else self.consumer.resume
                change([partition for partition in self.partitions if partition.topic == intake.topic])

    def _intake(self, record: Record) -> TopicIntake:
        return next(intake for intake in self.intakes if intake.topic == record.topic)

    def _take(self, record: Record) -> None:
        in_order, intake = self.in_order[record.topic_partition], self._intake(record)
        in_order.take(record.offset)
        done = partial(self.finished.put, (TakenRecord(record, in_order), ""))

        def wait() -> None:
            ticket = intake.ticket_of(record)
            if ticket is None:
                done()
            elif superseded := intake.put(ticket, TakenRecord(record, in_order, ticket.host)):
                self.finished.put((superseded, ""))

        self._contain(record, partial(self._or_refuse, record, wait, done), done)

    def _begin_waiting(self) -> None:
        """Hands the pools as many of the waiting records as each may work on."""
        for intake in self.intakes:
            for pool in list(intake.waiting.of_pool):
                for taken in intake.take(pool):
                    self._begin(intake, taken.record, partial(self.finished.put, (taken, pool)))
        self._set_aside_refused()

    def _begin(self, intake: TopicIntake, record: Record, done: Callable[[], None]) -> None:
        def begin() -> None:
            job = intake.job_of(record, done)
            intake.pools.submit(
                job.pool, partial(self._guarded, partial(self._contain, record, job.work, done), record.origin)
            )

        self._contain(record, partial(self._or_refuse, record, begin, done), done)

    def _or_refuse(self, record: Record, work: Callable[[], None], done: Callable[[], None]) -> None:
        try:
            work()
        except BadMessage as reason:
            self.refused.append((Refusal(record, str(reason)), done))

    def _contain(self, record: Record, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Does the work for a record; if it fails unexpectedly twice, the record is set aside."""
        failed: list[Record] = []

        def set_aside(record: Record, defect: Defect) -> None:
            self._intake(record).letters.set_aside_defect(record, defect)
            failed.append(record)

        contained = Contained(
            lambda _: work(), self.renew, set_aside, self.budget, lambda r: r.origin, NO_RECORDS_FAULT
        )
        contained([record])
        if failed:
            done()

    def _set_aside_refused(self) -> None:
        for intake in self.intakes if self.refused else ():
            refused = [refusal for refusal, _ in self.refused if refusal.record.topic == intake.topic]
            if refused:
                intake.letters.write(refused)
        for _, done in self.refused:
            done()
        self.refused.clear()

    def _set_metrics(self) -> None:
        """Sets the gauges, at most once a second."""
        if monotonic() < self.next_metrics_s:
            return
        self.next_metrics_s = monotonic() + 1.0
        positions = self.consumer.position(self.consumer.assignment())
        for intake in self.intakes:
            metrics.IN_HAND.labels(intake.topic).set(intake.in_flight.total())
            waiting = intake.waiting.counts()
            for pool in {*intake.in_flight, *waiting}:
                metrics.WAITING.labels(pool).set(waiting[pool])
            unread = sum(self.consumer.lag(*at) for at in positions.items() if at[0].topic == intake.topic)
            metrics.LAG_FOUND.labels(intake.topic).set(unread + intake.waiting.count)

    def _commit_finished(self) -> None:
        next_offsets: dict[TopicPartition, int] = {}
        while True:
            try:
                taken, pool = self.finished.get_nowait()
            except Empty:
                break
            if pool:
                self._intake(taken.record).finish(pool, taken)
            partition = taken.record.topic_partition
            moved = taken.in_order.finish(taken.record.offset)
            if moved is not None and self.in_order.get(partition) is taken.in_order:
                next_offsets[partition] = moved
        if next_offsets:
            self.consumer.commit(next_offsets)

    def _guarded(self, work: Callable[[], None], doing: str) -> None:
        """Does work; an unexpected error ends the process, when the answers of what was set aside are durable."""
        with exit_on_error(doing):
            try:
                work()
            except TooManyDefects:
                self.flush(LAST_DELIVERIES_S)
                raise
