"""The ledger as a scanner needs it: the newest status of every file, read continuously from pm.files.status."""

import logging
from collections.abc import Collection, Sequence
from threading import Condition, Event, RLock
from time import time

from services.scanner.file_progress import FileProgress, by_own_clock, decode_progress
from services.scanner.in_flight import FilesInFlight, InFlight
from services.scanner.known_files import KEPT_DAYS, KnownFile, KnownFiles, day_of
from shared.configuration.kafka import Kafka
from shared.defects import DefectBudget
from shared.kafka.admin import ends
from shared.kafka.consume import follow_all
from shared.kafka.dead_letters import DeadLetters, EarlierDefects, contained_records
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.ledger import UnknownKind, removed_file
from shared.messages import BadMessage, FileStatus, SinkPosition
from shared.topics import FILES_STATUS

__all__ = ["FilesInFlight", "KnownFile", "LedgerFollower"]

log = logging.getLogger(__name__)
LEDGER_READER = "scanner"
"""Names this reader in dead letters."""
MOST_RECORDS = 10_000
"""Most records that are read at once: up to five are about one file, often close together, and one of them counts."""
STATUSES = (FileProgress, FileStatus)


class LedgerFollower:
    """Keeps what scanning needs of every file in memory; little of those that are finished, and none that was removed.

    One thread reads the topic (`follow`); any thread may ask.
    """

    def __init__(self, brokers: Kafka, producer: Producer, budget: DefectBudget) -> None:
        self.brokers = brokers
        letters, is_known = (
            DeadLetters(producer, reader=LEDGER_READER),
            EarlierDefects(brokers, FILES_STATUS, LEDGER_READER),
        )
        self.contained = contained_records(self._take, letters, budget, is_known=is_known)
        self.reader = follow_all(brokers, FILES_STATUS)
        self.files = KnownFiles()
        self.taking_room = InFlight()
        self.highest_epochs: dict[str, int] = {}
        """System -> highest epoch of its files."""
        self.next_offsets = dict.fromkeys(range(FILES_STATUS.partitions), 0)
        self.lock = RLock()
        self.moved = Condition(self.lock)
        self.today = day_of(time())
        """The day on which old files were last forgotten."""

    def follow(self, stop: Event) -> None:
        """Reads the topic until stopped."""
        while not stop.is_set():
            records = self.reader.poll_newest(MOST_RECORDS, 0.5)
            self.contained(records)
            self.forget_old(time())
            with self.moved:
                self.next_offsets |= {record.partition: record.offset + 1 for record in records}
                self.moved.notify_all()
        self.reader.close()

    def _take(self, records: Sequence[Record]) -> None:
        """Takes records in order; taking some again changes nothing. The tracker sets invalid ones aside."""
        with self.lock:
            for record in records:
                if record.value is None:
                    self._remove(removed_file(record.key))
                    continue
                try:
                    found = decode_progress(record.value)
                except UnknownKind:
                    continue
                except BadMessage as error:
                    log.warning("invalid ledger record", extra={"origin": record.origin, "reason": str(error)[:200]})
                    continue
                if isinstance(found, STATUSES):
                    self.record(by_own_clock(found, time()))
                elif isinstance(found, SinkPosition):
                    self.taking_room.positions.record(found)

    def record(self, status: FileStatus | FileProgress) -> None:
        """Takes a status that was read from the topic, or that this scanner wrote and has not read yet."""
        with self.lock:
            self.taking_room.record(status)
            self.files.record(status, self.today)
            if status.epoch > self.highest_epochs.get(status.system, 0):
                self.highest_epochs[status.system] = status.epoch

    def _remove(self, file_id: str) -> None:
        """Forgets a file that was removed from the ledger; an empty id names none."""
        if file_id:
            self.taking_room.remove(file_id)
            self.files.remove(file_id)

    def forget_old(self, now_s: float) -> None:
        """Forgets once a day the files whose status is so old that the topic has dropped it.

        A file that is still on its element is then announced again, as by a scanner that starts.
        """
        if day_of(now_s) == self.today:
            return
        with self.lock:
            self.today = day_of(now_s)
            for file_id in self.files.forget_before(self.today - KEPT_DAYS):
                self.taking_room.remove(file_id)

    def in_flight(self, system: str, complete_on: Collection[str] = ()) -> FilesInFlight:
        """Returns the files of a system that are announced and not stored yet.

        One that is stored takes no room, however long it waits to be moved away.

        Args:
            system: name of the system.
            complete_on: the sinks that its files wait for; by default all that reported a position for them.
        """
        with self.lock:
            return self.taking_room.of_system(system, complete_on)

    def highest_epoch(self, system: str) -> int:
        """Returns the highest epoch in which a file of the system was announced; 0 if there is no file."""
        return self.highest_epochs.get(system, 0)

    def catch_up(self, stop: Event) -> None:
        """Waits until everything written before now has been read: a new leader must know what is in flight."""
        end_offsets = ends(self.brokers, FILES_STATUS)
        with self.moved:
            self.moved.wait_for(
                lambda: (
                    stop.is_set() or all(self.next_offsets[partition] >= end for partition, end in end_offsets.items())
                )
            )
