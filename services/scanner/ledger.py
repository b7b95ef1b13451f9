"""The ledger as a scanner needs it: the newest status of every file, read continuously from pm.files.status."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Condition, Event
from typing import NamedTuple

from shared.configuration.kafka import Kafka
from shared.defects import DefectBudget
from shared.kafka.admin import ends
from shared.kafka.consume import follow_all
from shared.kafka.dead_letters import DeadLetters, EarlierDefects, contained_records
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.ledger import UnknownKind, decode_status
from shared.messages import BadMessage, FileStatus, SinkPosition
from shared.sink_positions import SinkPositions
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


class FileInTopic(NamedTuple):
    """A file that is parsed: it is in flight until the sinks have stored it."""

    system: str
    endpoint: str
    topic: str
    partition: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class FilesInFlight:
    """The number of files of a system that are announced and not stored yet."""

    waiting_for_fetchers: int
    """Announced, or being fetched."""
    waiting_for_sinks: int
    by_endpoint: Counter[str]


class LedgerFollower:
    """Keeps the newest status of every file in memory. One thread reads the topic (`follow`); any thread may ask."""

    def __init__(self, brokers: Kafka, producer: Producer, budget: DefectBudget) -> None:
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
        self.parsed: dict[str, FileInTopic] = {}
        """File id -> place of each file that is parsed and was not refused to be moved."""
        self.positions = SinkPositions()
        self.highest_epochs: dict[str, int] = {}
        """System -> highest epoch of its files."""
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
                except UnknownKind:
                    continue
                except BadMessage as error:
                    log.warning("invalid ledger record", extra={"origin": record.origin, "reason": str(error)[:200]})
                    continue
                if isinstance(status, FileStatus):
                    self.record(status)
                elif isinstance(status, SinkPosition):
                    self.positions.record(status)

    def record(self, status: FileStatus) -> None:
        """Takes a status that was read from the topic, or that this scanner wrote and has not read yet."""
        known = KnownFile(status.system, status.endpoint, status.stage, status.at_s, status.attempt, status.found_s)
        with self.moved:
            before = self.files.get(status.file_id)
            if before is not None:
                self.counts[before.system, before.stage][before.endpoint] -= 1
            self.files[status.file_id] = known
            self.counts[known.system, known.stage][known.endpoint] += 1
            self.highest_epochs[status.system] = max(status.epoch, self.highest_epochs.get(status.system, 0))
            self.parsed.pop(status.file_id, None)
            if status.stage == "parsed" and not status.moves_refused:
                place = status.topic, status.partition, status.last_offset
                self.parsed[status.file_id] = FileInTopic(status.system, status.endpoint, *place)

    def in_flight(self, system: str, complete_on: Collection[str] = ()) -> FilesInFlight:
        """Returns the files of a system that are announced and not stored yet.

        One that is stored takes no room, however long it waits to be moved away.

        Args:
            system: name of the system.
            complete_on: the sinks that its files wait for; by default all that reported a position for them.
        """
        with self.moved:
            found, fetching = (+self.counts[system, stage] for stage in ("found", "fetching"))
            of_system = [file for file in self.parsed.values() if file.system == system]
            parsed = Counter(file.endpoint for file in of_system if not self._is_stored(file, complete_on))
        found += fetching
        return FilesInFlight(found.total(), parsed.total(), found + parsed)

    def highest_epoch(self, system: str) -> int:
        """Returns the highest epoch in which a file of the system was announced; 0 if there is no file."""
        return self.highest_epochs.get(system, 0)

    def _is_stored(self, file: FileInTopic, complete_on: Collection[str]) -> bool:
        sinks = complete_on or self.positions.in_partition(file.topic, file.partition)
        return self.positions.is_stored_in_all(sinks, file.topic, file.partition, file.last_offset)

    def catch_up(self, stop: Event) -> None:
        """Waits until everything written before now has been read: a new leader must know what is in flight."""
        end_offsets = ends(self.brokers, FILES_STATUS)
        with self.moved:
            self.moved.wait_for(
                lambda: (
                    stop.is_set() or all(self.next_offsets[partition] >= end for partition, end in end_offsets.items())
                )
            )
