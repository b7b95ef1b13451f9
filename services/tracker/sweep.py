"""LedgerSweep: removes files from the ledger that ended long ago and are no longer on their element.

Once a day it reads each partition from its beginning, at a bounded rate. A file is a candidate if a record of it says
that it ended long ago; it is no longer one if a later record is about it. Those left at the end of the partition get a
tombstone, which deletes the key. Memory is bounded: when there are many candidates, their next part follows after that.

Nothing is lost if a file comes back in the moment between the last look and its tombstone. Its next status is newer
than the tombstone. If there is none, the scanner finds the file on its element and announces it as a new one.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from time import time
from typing import Final

from services.tracker import metrics
from services.tracker.ended import has_ended
from shared.configuration.kafka import Kafka
from shared.errors import Unreachable
from shared.kafka import admin
from shared.kafka.consume import OffsetRange, read_range
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import KafkaFailure, Record
from shared.ledger import decode_status
from shared.messages import BadMessage, FileStatus
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
FIRST_SWEEP_S: Final = 300.0
"""Longest time from the start to the first sweep."""
MOST_CANDIDATES: Final = 100_000
READ: Final = 1000
"""Records read at once."""
PAUSE_S: Final = 0.05
"""Time between two reads: a sweep reads at most 20,000 records a second."""
CATCH_UPS: Final = 3
"""Ranges in which a partition is read: the second and third are what was written meanwhile."""


@dataclass
class Candidates:
    """Files of one partition that may leave the ledger. Receives all records of the partition, in order. Pure."""

    is_off_element: Callable[[FileStatus], bool]
    """Returns whether a file that ended is no longer where a scan looks."""
    before_s: float
    """Only files that ended before this time may leave."""
    most: int = MOST_CANDIDATES
    keys: set[bytes] = field(default_factory=set)
    next_offset: int = -1
    """The offset of the first candidate beyond `most`, where the next part begins; -1: these are all."""

    def on_record(self, record: Record) -> None:
        """Takes a record: only the newest one of a file counts."""
        self.keys.discard(record.key)
        if self.next_offset < 0 and self._may_leave(record):
            if len(self.keys) < self.most:
                self.keys.add(record.key)
            else:
                self.next_offset = record.offset

    def _may_leave(self, record: Record) -> bool:
        if record.value is None or record.timestamp_s > self.before_s or not has_ended(record.value):
            return False
        try:
            status = decode_status(record.value)
        except BadMessage:
            return False
        return (
            isinstance(status, FileStatus)
            and status.file_id == record.key_text
            and max(status.at_s, status.end_s) <= self.before_s
            and self.is_off_element(status)
        )


def is_off_element(status: FileStatus, on_done: str) -> bool:
    """Returns whether a file that ended is no longer where a scan looks.

    Args:
        status: its last status.
        on_done: what its system does with a stored file; empty if the system is not configured.
    """
    return status.stage == "lost" or (status.stage == "done" and on_done in {"move", "delete"})


@dataclass(frozen=True)
class LedgerSweep:
    """Sweeps all partitions at an interval, in a thread of its own. Several trackers may do the same."""

    brokers: Kafka
    producer: Producer
    on_done: Callable[[str], str]
    """System -> what it does with a stored file; empty if it is not configured."""
    keep_s: float
    """The time that a file stays in the ledger after its end."""
    interval_s: float
    pause_s: float = PAUSE_S

    def run(self, stop: Event) -> None:
        """Sweeps until stopped. A sweep that fails is repeated after the interval; it does no harm to be late."""
        stop.wait(min(self.interval_s, FIRST_SWEEP_S))
        while not stop.is_set():
            try:
                self.sweep(time(), stop)
            except (Unreachable, KafkaFailure) as error:
                log.warning("ledger not swept", extra={"reason": str(error)})
            stop.wait(self.interval_s)

    def sweep(self, now_s: float, stop: Event) -> None:
        """Removes what may leave the ledger now.

        Raises:
            Unreachable: Kafka does not answer.
            KafkaFailure: Kafka refuses.
        """
        removed = 0
        for partition, first in admin.begins(self.brokers, FILES_STATUS).items():
            offset = first
            while offset >= 0 and not stop.is_set():
                found = self._candidates(partition, offset, now_s - self.keep_s, stop)
                removed += self._remove(partition, found.keys) if not stop.is_set() else 0
                offset = found.next_offset
        log.info("ledger swept", extra={"files": removed})

    def _candidates(self, partition: int, offset: int, before_s: float, stop: Event) -> Candidates:
        found = Candidates(lambda status: is_off_element(status, self.on_done(status.system)), before_s)
        for _ in range(CATCH_UPS):
            end = max(offset, admin.ends(self.brokers, FILES_STATUS).get(partition, 0))
            for record in self._records(partition, offset, end, stop):
                found.on_record(record)
            offset = end
        return found

    def _records(self, partition: int, first: int, end: int, stop: Event) -> Iterator[Record]:
        part = OffsetRange(FILES_STATUS, {partition: first}, {partition: end})
        for records in read_range(self.brokers, "pmflow-tracker-sweep", part, READ):
            yield from records
            if records and stop.wait(self.pause_s):
                return

    def _remove(self, partition: int, keys: set[bytes]) -> int:
        self.producer.deliver(*(Outgoing(FILES_STATUS.name, partition, key.decode(), None) for key in keys))
        metrics.LEDGER_REMOVED.inc(len(keys))
        return len(keys)
