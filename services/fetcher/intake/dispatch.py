"""Dispatch: passes the records of a topic to pools of threads, each at its own pace; commits offsets in order."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from services.fetcher import metrics
from services.fetcher.intake.offsets import OffsetOrder
from services.fetcher.intake.pools import Pools
from services.fetcher.intake.waiting_records import TakenRecord, Ticket, WaitingRecords
from shared.crash import exit_on_error
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, TooManyDefects, nothing_to_renew
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, Refusal
from shared.kafka.record import Record, TopicPartition
from shared.messages import BadMessage
from shared.metrics import DEAD_LETTERS

log = logging.getLogger(__name__)
MOST_AT_ONCE = 500
"""Most records that are read before those that are finished are committed."""
LAST_DELIVERIES_S = 20.0
"""Longest wait for deliveries before the process ends."""


@dataclass(frozen=True, slots=True)
class Job:
    """The work that a record asks for, and the pool that does it. Several records may share their work."""

    pool: str
    work: Callable[[], None]


@dataclass(kw_only=True)
class Dispatch:
    """One consumer and its thread; the threads of the pools do the work.

    Records wait in memory, each for its own pool, so that a pool that is slow or has much to do holds up no other.
    Reading pauses only when `max_waiting` records wait: what is not read stays in the topic.
    """

    consumer: Consumer
    letters: DeadLetters
    pools: Pools
    ticket_of: Callable[[Record], Ticket | None]
    """Returns where a record waits; None: nothing needs to be done. Called for each record, in order.

    Raises BadMessage for a record that is then set aside.
    """
    job_of: Callable[[Record, Callable[[], None]], Job]
    """Returns the job for a record; the second argument must be called once all its effects are durable.

    Raises BadMessage for a record that is then set aside.
    """
    in_flight_of: Callable[[str], int]
    """Returns how many records a pool may work on at once, those included whose effects are not durable yet."""
    flush: Callable[[float], bool]
    """Waits at most so many seconds until all effects are durable; returns whether they are."""
    heartbeat: Heartbeat
    max_waiting: int = 150_000
    budget: DefectBudget = field(default_factory=DefectBudget)
    renew: Callable[[], None] = nothing_to_renew
    """Forgets what may be outdated, before work that failed unexpectedly is tried once more."""
    refused: list[tuple[Refusal, Callable[[], None]]] = field(default_factory=list)
    """Records to set aside together, each with the function to call afterwards."""
    in_order: dict[TopicPartition, OffsetOrder] = field(default_factory=lambda: defaultdict(OffsetOrder))
    waiting: WaitingRecords = field(default_factory=WaitingRecords)
    in_flight: Counter[str] = field(default_factory=Counter)
    """The number of records that each pool works on."""
    finished: SimpleQueue[tuple[TakenRecord, str]] = field(default_factory=SimpleQueue)
    """Records whose effects are durable, each with the pool that worked on it; empty: none did."""
    next_metrics_s: float = 0.0

    def run(self, topic: str, stop: Event) -> None:
        """Runs until stopped, then finishes work in progress. Records that are not committed are read again later."""
        DEAD_LETTERS.labels(topic)  # zero from the start
        self.consumer.subscribe([topic], on_revoke=self._revoked)
        while not stop.is_set():
            self._read()
            self._commit_finished()
            self._begin_waiting()
            self._set_metrics(topic)
            self.heartbeat.progress()
        self.pools.close()
        if not self.flush(LAST_DELIVERIES_S):
            log.warning("stopped before all deliveries, their records are read again", extra={"topic": topic})
        self._commit_finished()
        self.consumer.close()

    def _revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets the partitions: another fetcher continues from the last commit, so work on them no longer counts."""
        for partition in partitions:
            self.in_order.pop(partition, None)
        self.waiting.drop(set(partitions))

    def _read(self) -> None:
        """Adds records to those that wait, as many as may."""
        left = self.max_waiting - self.waiting.count
        if left <= 0:
            self.consumer.wait_paused(0.1)
            return
        for record in self.consumer.poll(min(left, MOST_AT_ONCE), 0.1):
            self._take(record)
        self._set_aside_refused()

    def _take(self, record: Record) -> None:
        taken = TakenRecord(record, self.in_order[record.topic_partition])
        taken.in_order.take(record.offset)
        done = partial(self.finished.put, (taken, ""))

        def wait() -> None:
            ticket = self.ticket_of(record)
            superseded = self.waiting.put(ticket, taken) if ticket else taken
            if superseded:
                self.finished.put((superseded, ""))

        self._contain(record, partial(self._or_refuse, record, wait, done), done)

    def _begin_waiting(self) -> None:
        """Hands the pools as many of the waiting records as each may work on."""
        for pool in list(self.waiting.of_pool):
            for taken in self.waiting.take(pool, max(0, self.in_flight_of(pool) - self.in_flight[pool])):
                self.in_flight[pool] += 1
                self._begin(taken.record, partial(self.finished.put, (taken, pool)))
        self._set_aside_refused()

    def _begin(self, record: Record, done: Callable[[], None]) -> None:
        def begin() -> None:
            job = self.job_of(record, done)
            self.pools.submit(
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
            self.letters.set_aside_defect(record, defect)
            failed.append(record)

        contained = Contained(
            lambda _: work(), self.renew, set_aside, self.budget, lambda r: r.origin, NO_RECORDS_FAULT
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
        metrics.IN_HAND.labels(topic).set(self.in_flight.total())
        waiting = self.waiting.counts()
        for pool in {*self.in_flight, *waiting}:
            metrics.WAITING.labels(pool).set(waiting[pool])
        positions = self.consumer.position(self.consumer.assignment())
        unread = sum(self.consumer.lag(*position) for position in positions.items())
        metrics.LAG_FOUND.labels(topic).set(unread + self.waiting.count)

    def _commit_finished(self) -> None:
        next_offsets: dict[TopicPartition, int] = {}
        while True:
            try:
                taken, pool = self.finished.get_nowait()
            except Empty:
                break
            if pool:
                self.in_flight[pool] -= 1
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
