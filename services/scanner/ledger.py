"""The ledger as a scanner sees it: the newest status of every file, followed from pm.files.status."""

import logging
from dataclasses import dataclass
from threading import Condition, Event

from shared.kafka import ends, follow_all, origin, usable
from shared.messages import BadMessage, FileStatus, decode_status
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
UNDER_WAY = frozenset({"found", "parsed"})
"""Stages of a file that takes up room in the fetchers, the topics or the sinks."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of a file."""

    system: str
    stage: str
    at_s: float


class Ledger:
    """Kept up to date by one thread (`follow`), asked by all."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        self.reader = follow_all(brokers, FILES_STATUS)
        self.files: dict[str, Known] = {}
        self.read = dict.fromkeys(range(FILES_STATUS.partitions), 0)
        self.moved = Condition()

    def follow(self, stop: Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            messages = usable(self.reader.consume(1000, 0.5))
            with self.moved:
                for message in messages:
                    self._take(message.value())
                    _, partition, offset = origin(message)
                    self.read[partition] = offset + 1
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
        self.files[status.file_id] = Known(status.system, status.stage, status.at_s)

    def known(self, file_id: str) -> Known | None:
        return self.files.get(file_id)

    def in_flight(self, system: str) -> int:
        """How many of a system's files are announced and not yet stored."""
        known = list(self.files.values())
        return sum(file.system == system and file.stage in UNDER_WAY for file in known)

    def catch_up(self, stop: Event) -> None:
        """Wait until all that was said before now is read: a new leader must know what is in flight."""
        told = ends(self.brokers, FILES_STATUS)
        with self.moved:
            self.moved.wait_for(
                lambda: stop.is_set() or all(self.read[partition] >= end for partition, end in told.items())
            )
