"""The ledger as a scanner sees it: the newest status of every file, followed from pm.files.status."""

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from threading import Condition, Event

from shared.kafka.admin import ends
from shared.kafka.consume import follow_all
from shared.messages import BadMessage, FileStatus, decode_status
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of a file."""

    system: str
    endpoint: str
    stage: str
    at_s: float
    attempt: int = 1
    found_s: float = 0.0


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Files of a system that take up room: announced and not yet stored."""

    found: int
    """Waiting for a fetcher, or with one."""
    parsed: int
    """Waiting for the sinks."""
    by_endpoint: Counter[str]


class Ledger:
    """Kept up to date by one thread (`follow`), asked by all."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        self.reader = follow_all(brokers, FILES_STATUS)
        self.files: dict[str, Known] = {}
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        """(system, stage) -> endpoint -> files."""
        self.read = dict.fromkeys(range(FILES_STATUS.partitions), 0)
        self.moved = Condition()

    def follow(self, stop: Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            records = self.reader.poll(1000, 0.5)
            with self.moved:
                for record in records:
                    self._take(record.value)
                    self.read[record.partition] = record.offset + 1
                self.moved.notify_all()
        self.reader.close()

    def _take(self, value: bytes | None) -> None:
        if value is None:
            return
        try:
            status = decode_status(value)
        except BadMessage as error:
            log.error("not a status, passed over", extra={"reason": str(error)})  # noqa: TRY400 - says it all
            return
        if isinstance(status, FileStatus):
            self.note(status)

    def note(self, status: FileStatus) -> None:
        """Take a status: read from the topic, or our own, said before we read it."""
        known = Known(status.system, status.endpoint, status.stage, status.at_s, status.attempt, status.found_s)
        with self.moved:
            before = self.files.get(status.file_id)
            if before is not None:
                self.counts[before.system, before.stage][before.endpoint] -= 1
            self.files[status.file_id] = known
            self.counts[known.system, known.stage][known.endpoint] += 1

    def under_way(self, system: str) -> UnderWay:
        """What of a system is announced and not yet stored."""
        with self.moved:
            found, fetching, parsed = (+self.counts[system, stage] for stage in ("found", "fetching", "parsed"))
        found += fetching
        return UnderWay(found.total(), parsed.total(), found + parsed)

    def catch_up(self, stop: Event) -> None:
        """Wait until all that was said before now is read: a new leader must know what is in flight."""
        told = ends(self.brokers, FILES_STATUS)
        with self.moved:
            self.moved.wait_for(
                lambda: stop.is_set() or all(self.read[partition] >= end for partition, end in told.items())
            )
