"""Stores the records of a topic in one of pmflow's own tables, such as the statistics of cycles.

Both sinks store them, each with its own SQL; the columns and the loop are the same.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Generic, Literal, Protocol, TypeVar

from shared import metrics
from shared.backoff import backoff_s
from shared.defects import DefectBudget
from shared.errors import Hopeless, Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, Refusal, contained_records
from shared.kafka.record import Record
from shared.messages import BadMessage

log = logging.getLogger(__name__)
FIRST_KEEP_BACKOFF_S = 0.5
LONGEST_KEEP_BACKOFF_S = 10.0
OwnColumnKind = Literal["integer", "number", "text", "json", "time"]
"""The kind of a column in pmflow's own tables; a time is UTC, to the millisecond, and may be unknown."""
Kept = TypeVar("Kept")
Stored_contra = TypeVar("Stored_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class KeptTopic(Generic[Kept]):
    """A topic whose records go into a table."""

    name: str
    read: Callable[[bytes | None], Kept | None]
    """Returns what a record's value holds, or None if the table has no row for it. Raises BadMessage."""
    gather_s: float = 1.0
    """Longest time for which the records of one write are gathered."""
    most_records: int = 500
    """Most records of one write."""


class TableStore(Protocol[Stored_contra]):
    """A table of a database."""

    def keep(self, items: Sequence[Stored_contra], /) -> None:
        """Stores items durably, in the order of the topic; storing them again changes nothing.

        Raises:
            Unreachable: the database does not answer now.
            Hopeless: some of them can never be stored; then none is.
        """

    def renew(self) -> None:
        """Forgets everything it remembers of the database and closes its connection."""


@dataclass(frozen=True)
class TableKeeper(Generic[Kept]):
    """Reads a topic and stores it, in one thread. Several processes may run one each and share the partitions."""

    topic: KeptTopic[Kept]
    consumer: Consumer
    letters: DeadLetters
    store: TableStore[Kept]
    heartbeat: Heartbeat
    budget: DefectBudget = field(default_factory=DefectBudget)

    def run(self, stop: Event) -> None:
        """Runs until stopped."""
        metrics.DEAD_LETTERS.labels(self.topic.name)  # exists with 0 from the start
        contained = contained_records(partial(self._handle, stop=stop), self.letters, self.budget, self.store.renew)
        self.consumer.subscribe([self.topic.name])
        while not stop.is_set():
            records = self.consumer.poll(self.topic.most_records, self.topic.gather_s)
            contained(records)
            if records and not stop.is_set():
                self.consumer.commit({record.topic_partition: record.offset + 1 for record in records})
            self.heartbeat.progress()
        self.consumer.close()

    def _handle(self, records: Sequence[Record], stop: Event) -> None:
        items, refused = [], []
        for record in records:
            try:
                found = self.topic.read(record.value)
            except BadMessage as reason:
                refused.append(Refusal(record, str(reason)))
            else:
                items += [(record, found)] if found is not None else []
        refused += self._keep(items, stop)
        if refused:
            self.letters.write(refused)

    def _keep(self, items: Sequence[tuple[Record, Kept]], stop: Event) -> list[Refusal]:
        """Stores items; returns those that the database can never store."""
        if not items:
            return []
        try:
            self._store([item for _, item in items], stop)
        except Hopeless as reason:
            middle = len(items) // 2
            if not middle:
                return [Refusal(items[0][0], str(reason))]
            return self._keep(items[:middle], stop) + self._keep(items[middle:], stop)
        return []

    def _store(self, items: Sequence[Kept], stop: Event) -> None:
        """Stores the items, retrying until it succeeds or is stopped; the consumer stays in its group meanwhile."""
        failures = 0
        while not stop.is_set():
            try:
                self.store.keep(items)
            except Unreachable as error:
                failures += 1
                wait_s = backoff_s(failures, FIRST_KEEP_BACKOFF_S, LONGEST_KEEP_BACKOFF_S)
                extra = {"topic": self.topic.name, "reason": str(error), "wait_s": wait_s}
                log.warning("records wait for the database", extra=extra)
                self.consumer.wait_paused(wait_s)
                self.heartbeat.progress()
            else:
                log.debug("records kept in a table", extra={"topic": self.topic.name, "records": len(items)})
                return
