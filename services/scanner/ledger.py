"""The ledger as a scanner needs it: the newest status of every file, read continuously from pm.files.status."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition, Event

from shared.defects import DefectBudget
from shared.kafka.admin import ends
from shared.kafka.consume import follow_all
from shared.kafka.dead_letters import DeadLetters, EarlierDefects, contained_records
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.messages import BadMessage, FileStatus, decode_status
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
LEDGER_READER = "scanner"
"""Names this reader in dead letters."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """The part of a file's newest status that scanning needs."""

    system: str
    endpoint: str
    stage: str
    at_s: float
    attempt: int = 1
    found_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FilesInFlight:
    """The number of files of a system that are announced and not stored yet."""

    waiting_for_fetchers: int
    """Announced, or being fetched."""
    waiting_for_sinks: int
    by_endpoint: Counter[str]


class LedgerFollower:
    """Keeps the newest status of every file in memory. One thread reads the topic (`follow`); any thread may ask."""

    def __init__(self, brokers: str, producer: Producer, budget: DefectBudget) -> None:
        self.brokers = brokers
        letters, is_known = (
            DeadLetters(producer, reader=LEDGER_READER),
            EarlierDefects(brokers, FILES_STATUS, LEDGER_READER),
        )
        self.contained = contained_records(self._take, letters, budget, is_known=is_known)
        self.reader = follow_all(brokers, FILES_STATUS)
        self.files: dict[str, KnownFile] = {}
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        """(system, stage) -> endpoint -> files."""
        self.next_offsets = dict.fromkeys(range(FILES_STATUS.partitions), 0)
        self.moved = Condition()

    def follow(self, stop: Event) -> None:
        """Reads the topic until stopped."""
        while not stop.is_set():
            records = self.reader.poll(1000, 0.5)
            self.contained(records)
            with self.moved:
                self.next_offsets |= {record.partition: record.offset + 1 for record in records}
                self.moved.notify_all()
        self.reader.close()

    def _take(self, records: Sequence[Record]) -> None:
        """Takes records in order; taking some again changes nothing. The tracker sets invalid ones aside."""
        with self.moved:
            for record in records:
                try:
                    status = decode_status(record.value) if record.value is not None else None
                except BadMessage as error:
                    log.warning("invalid ledger record", extra={"origin": record.origin, "reason": str(error)[:200]})
                    continue
                if isinstance(status, FileStatus):
                    self.record(status)

    def record(self, status: FileStatus) -> None:
        """Takes a status that was read from the topic, or that this scanner wrote and has not read yet."""
        known = KnownFile(status.system, status.endpoint, status.stage, status.at_s, status.attempt, status.found_s)
        with self.moved:
            before = self.files.get(status.file_id)
            if before is not None:
                self.counts[before.system, before.stage][before.endpoint] -= 1
            self.files[status.file_id] = known
            self.counts[known.system, known.stage][known.endpoint] += 1

    def in_flight(self, system: str) -> FilesInFlight:
        """Returns the files of a system that are announced and not stored yet."""
        with self.moved:
            found, fetching, parsed = (+self.counts[system, stage] for stage in ("found", "fetching", "parsed"))
        found += fetching
        return FilesInFlight(found.total(), parsed.total(), found + parsed)

    def catch_up(self, stop: Event) -> None:
        """Waits until everything written before now has been read: a new leader must know what is in flight."""
        end_offsets = ends(self.brokers, FILES_STATUS)
        with self.moved:
            self.moved.wait_for(
                lambda: (
                    stop.is_set() or all(self.next_offsets[partition] >= end for partition, end in end_offsets.items())
                )
            )
