"""FileProducer: from listings to announcements. The decisions are pure; the class lists and announces."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import time

from services.scanner.file_name import read
from services.scanner.leader import Term
from services.scanner.ledger import Known, Ledger
from services.scanner.rules import Rules, first_ones, settled
from services.scanner.settings import ScannerSettings
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.kafka import KafkaProducer, Outgoing
from shared.messages import FileFound, file_identity, partition_of, path_text, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Entry, Gone, Session
from shared.settings import System
from shared.topics import FILES_FOUND, FILES_STATUS

log = logging.getLogger(__name__)
ANNOUNCE_AGAIN = frozenset({"postponed", "lost"})
"""Stages of a file that is on the element all the same."""


def due(known: Known | None, now_s: float, lease_s: float) -> bool:
    """Whether a file on the element is to be announced: it is new, came back, or its lease ended."""
    if known is None or known.stage in ANNOUNCE_AGAIN:
        return True
    return known.stage == "found" and now_s - known.at_s > lease_s


def found(system: str, endpoint: Endpoint, path: bytes, entry: Entry, epoch: int) -> FileFound:
    """The announcement of a listed file."""
    text, name = path_text(path), read(entry.name, endpoint.zone)
    return FileFound(
        file_id=file_identity(system, endpoint.name, text, entry.size, entry.mtime_s),
        system=system,
        endpoint=endpoint.name,
        element=name.unique_id if name and name.unique_id else endpoint.name,
        path=text,
        size=entry.size,
        mtime_s=entry.mtime_s,
        end_s=name.end_s if name else 0,
        epoch=epoch,
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What one element had."""

    new: Sequence[FileFound]
    left: Counter[str]
    reachable: bool = True


@dataclass(frozen=True)
class FileProducer:
    """Finds the files of one system that nobody has announced, and announces them."""

    system: System
    settings: ScannerSettings
    elements: FtpServiceManager
    producer: KafkaProducer
    ledger: Ledger

    def scan(self, endpoints: Mapping[str, Endpoint], term: Term) -> None:
        """One cycle over all elements; one that does not answer keeps no other waiting."""
        began_s = time()
        rules = Rules(self.system, self.settings.temporary_suffixes)
        with ThreadPoolExecutor(self.settings.listings) as pool:
            looks = list(pool.map(partial(self._look, rules=rules, term=term), endpoints.values()))
        new = [file for look in looks for file in look.new]
        in_flight = self.ledger.in_flight(self.system.name)
        room = self.system.in_flight_limit - in_flight
        chosen = first_ones(new, cycle_of, room, self.system.backlog_share)
        self._announce(chosen, term)
        left = sum((look.left for look in looks), Counter[str]())
        held_back = len(new) - len(chosen)
        log.log(
            logging.WARNING if held_back else logging.INFO,
            "scanned, holding files back" if held_back else "scanned",
            extra={
                "system": self.system.name,
                "elements": len(looks),
                "unreachable": sum(not look.reachable for look in looks),
                "announced": len(chosen),
                "held_back": held_back,
                "in_flight": in_flight,
                "left": dict(left),
                "took_s": round(time() - began_s, 2),
            },
        )

    def _look(self, endpoint: Endpoint, rules: Rules, term: Term) -> Look:
        try:
            return self._new_files(endpoint, rules, term)
        except (Unreachable, Hopeless) as error:
            log.warning("element not scanned", extra={"system": self.system.name, "reason": str(error)})
            return Look((), Counter(), reachable=False)

    def _new_files(self, endpoint: Endpoint, rules: Rules, term: Term) -> Look:
        """New files in the element's directories, seen twice alike."""
        new: list[FileFound] = []
        left = Counter[str]()
        with self.elements.session(endpoint) as session:
            for directory in endpoint.directories(time()):
                first, others = rules.taken(_entries(session, directory), time())
                left += others
                due_ones = {
                    file: entry for file, entry in self._found(endpoint, directory, first, term) if self._due(file)
                }
                if not due_ones:
                    continue
                if term.over.wait(self.settings.settle_s):
                    return Look((), left)
                still = set(settled(due_ones.values(), _entries(session, directory)))
                new += [file for file, entry in due_ones.items() if entry in still]
                left["not settled"] += len(due_ones) - sum(entry in still for entry in due_ones.values())
        return Look(new, +left)

    def _found(
        self, endpoint: Endpoint, directory: bytes, entries: Iterable[Entry], term: Term
    ) -> Iterator[tuple[FileFound, Entry]]:
        for entry in entries:
            path = directory.rstrip(b"/") + b"/" + entry.name
            yield found(self.system.name, endpoint, path, entry, term.epoch), entry

    def _due(self, file: FileFound) -> bool:
        return due(self.ledger.known(file.file_id), time(), self.settings.lease_s)

    def _announce(self, files: Sequence[FileFound], term: Term) -> None:
        """The ledger first: whatever a fetcher says of a file comes after `found`."""
        if not files or term.over.is_set():
            return
        statuses = [status_of(file, "found", time()) for file in files]
        self.producer.deliver(*(_outgoing(FILES_STATUS.name, s.element, s.file_id, s.encode()) for s in statuses))
        for status in statuses:
            self.ledger.note(status)
        if not term.over.is_set():
            self.producer.deliver(*(_outgoing(FILES_FOUND.name, f.element, f.element, f.encode()) for f in files))
            for file in files:
                log.debug("file announced", extra={"file": file.file_id, "element": file.element, "path": file.path})


def cycle_of(file: FileFound) -> int:
    """Higher is newer: the end of its period, or when it was written where the name does not tell."""
    return file.end_s or file.mtime_s


def _entries(session: Session, directory: bytes) -> Iterable[Entry]:
    """A directory of a date that has none yet is an empty one."""
    try:
        return list(session.entries(directory))
    except Gone:
        return ()


def _outgoing(topic: str, element: str, key: str, value: bytes) -> Outgoing:
    return Outgoing(topic, partition_of(element), key, value)
