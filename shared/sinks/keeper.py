"""Stores the records of a topic in one of pmflow's own tables, such as the statistics of cycles.

Both sinks store them, each with its own SQL; the columns and the loop are the same.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Generic, Literal, TypeVar

from shared import metrics
from shared.backoff import backoff_s
from shared.errors import Hopeless, Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import Record
from shared.messages import BadMessage

log = logging.getLogger(__name__)
FIRST_KEEP_BACKOFF_S = 0.5
LONGEST_KEEP_BACKOFF_S = 10.0
OwnColumnKind = Literal["integer", "number", "text", "json", "time"]
"""The kind of a column in pmflow's own tables; a time is UTC, to the millisecond, and may be unknown."""
Kept = TypeVar("Kept")


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


@dataclass(frozen=True)
class TableKeeper(Generic[Kept]):
    """Reads a topic and stores it, in one thread. Several processes may run one each and share the partitions."""

    topic: KeptTopic[Kept]
    consumer: Consumer
    letters: DeadLetters
    keep: Callable[[Sequence[Kept]], None]
    """Stores items durably, in the order of the topic; storing them again changes nothing.

    Raises Unreachable, and Hopeless if one of them can never be stored.
    """
    heartbeat: Heartbeat

    def run(self, stop: Event) -> None:
        """Runs until stopped."""
        metrics.DEAD_LETTERS.labels(self.topic.name)  # exists with 0 from the start
        self.consumer.subscribe([self.topic.name])
        while not stop.is_set():
            records = self.consumer.poll(self.topic.most_records, self.topic.gather_s)
            if records and self._kept(list(self._readable(records)), stop):
                self.consumer.commit({record.topic_partition: record.offset + 1 for record in records})
            self.heartbeat.progress()
        self.consumer.close()

    def _readable(self, records: Sequence[Record]) -> Iterator[tuple[Record, Kept]]:
        for record in records:
            try:
                found = self.topic.read(record.value)
            except BadMessage as reason:
                self.letters.set_aside(record, str(reason))
            else:
                if found is not None:
                    yield record, found

    def _kept(self, items: Sequence[tuple[Record, Kept]], stop: Event) -> bool:
        """Stores the items, retrying until it succeeds; the consumer stays in its group meanwhile."""
        failures = 0
        while not stop.is_set():
            try:
                self._land(items)
            except Unreachable as error:
                failures += 1
                wait_s = backoff_s(failures, FIRST_KEEP_BACKOFF_S, LONGEST_KEEP_BACKOFF_S)
                extra = {"topic": self.topic.name, "reason": str(error), "wait_s": wait_s}
                log.warning("records wait for the database", extra=extra)
                self.consumer.wait_paused(wait_s)
                self.heartbeat.progress()
            else:
                log.debug("records kept in a table", extra={"topic": self.topic.name, "records": len(items)})
                return True
        return False

    def _land(self, items: Sequence[tuple[Record, Kept]]) -> None:
        """Stores the items; one that the database refuses for good is set aside alone."""
        if not items:
            return
        try:
            self.keep([item for _, item in items])
        except Hopeless as reason:
            if len(items) == 1:
                self.letters.set_aside(items[0][0], str(reason))
                return
            middle = len(items) // 2
            self._land(items[:middle])
            self._land(items[middle:])
