"""FileProducer: from listings to announcements. The decisions are pure; the class lists and announces."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import time

from services.scanner.file_name import element_of
from services.scanner.leader import Term
from services.scanner.settings import ScannerSettings
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.kafka import KafkaProducer, Outgoing
from shared.messages import FileFound, FileStatus, file_identity, partition_of, path_text, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Entry
from shared.topics import FILES_FOUND, FILES_STATUS

log = logging.getLogger(__name__)
ANNOUNCE_AGAIN = frozenset({"postponed", "lost"})
"""Stages of a file that is on the element all the same."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of a file."""

    stage: str
    at_s: float


def candidates(listing: Iterable[Entry], temporary_suffixes: Sequence[str]) -> list[Entry]:
    """Files that may be taken: not hidden, not of a name elements write under, not empty."""
    unfinished = tuple(suffix.encode() for suffix in temporary_suffixes)
    return [
        entry
        for entry in listing
        if entry.size and not entry.name.startswith(b".") and not entry.name.endswith(unfinished)
    ]


def settled(first: Iterable[Entry], second: Iterable[Entry]) -> list[Entry]:
    """Files two looks found alike: their element has finished them, whatever their mtime says."""
    unchanged = set(first)
    return [entry for entry in second if entry in unchanged]


def due(known: Known | None, now_s: float, lease_s: float) -> bool:
    """Whether a file on the element is to be announced: it is new, came back, or its lease ended."""
    if known is None or known.stage in ANNOUNCE_AGAIN:
        return True
    return known.stage == "found" and now_s - known.at_s > lease_s


def found(system: str, endpoint: Endpoint, entry: Entry, epoch: int) -> FileFound:
    """The announcement of a listed file."""
    path = path_text(endpoint.directory.rstrip("/").encode() + b"/" + entry.name)
    return FileFound(
        file_id=file_identity(system, endpoint.name, path, entry.size, entry.mtime_s),
        system=system,
        endpoint=endpoint.name,
        element=element_of(entry.name, otherwise=endpoint.name),
        path=path,
        size=entry.size,
        mtime_s=entry.mtime_s,
        epoch=epoch,
    )


@dataclass(frozen=True)
class FileProducer:
    """Finds the files of one system that nobody has announced, and announces them."""

    system: str
    settings: ScannerSettings
    elements: FtpServiceManager
    producer: KafkaProducer
    known: Callable[[str], Known | None]
    """The ledger, by file id."""
    note: Callable[[FileStatus], None]
    """Tells our own ledger at once what it will read later."""

    def scan(self, endpoints: Mapping[str, Endpoint], term: Term) -> None:
        """One cycle over all elements; one that does not answer keeps no other waiting."""
        began_s = time()
        with ThreadPoolExecutor(self.settings.listings) as pool:
            counts = list(pool.map(partial(self._scan_one, term=term), endpoints.values()))
        log.info(
            "scanned",
            extra={
                "system": self.system,
                "elements": len(counts),
                "unreachable": counts.count(None),
                "announced": sum(count or 0 for count in counts),
                "took_s": round(time() - began_s, 2),
            },
        )

    def _scan_one(self, endpoint: Endpoint, term: Term) -> int | None:
        """How many files of an element were announced; None when it did not answer."""
        try:
            new = self._new_files(endpoint, term)
        except (Unreachable, Hopeless) as error:
            log.warning("element not scanned", extra={"system": self.system, "reason": str(error)})
            return None
        self._announce(new, term)
        return len(new)

    def _new_files(self, endpoint: Endpoint, term: Term) -> list[FileFound]:
        directory = endpoint.directory.encode()
        with self.elements.session(endpoint) as session:
            first = candidates(session.entries(directory), self.settings.temporary_suffixes)
            new = [(found(self.system, endpoint, entry, term.epoch), entry) for entry in first]
            new = [(file, entry) for file, entry in new if due(self.known(file.file_id), time(), self.settings.lease_s)]
            if not new or term.over.wait(self.settings.settle_s):
                return []
            still = set(settled((entry for _, entry in new), session.entries(directory)))
        files = [file for file, entry in new if entry in still]
        return sorted(files, key=lambda file: (file.mtime_s, file.path))

    def _announce(self, files: Sequence[FileFound], term: Term) -> None:
        """The ledger first: whatever a fetcher says of a file comes after `found`."""
        if not files or term.over.is_set():
            return
        statuses = [status_of(file, "found", time()) for file in files]
        self.producer.deliver(*(_outgoing(FILES_STATUS.name, s.element, s.file_id, s.encode()) for s in statuses))
        for status in statuses:
            self.note(status)
        if not term.over.is_set():
            self.producer.deliver(*(_outgoing(FILES_FOUND.name, f.element, f.element, f.encode()) for f in files))
            for file in files:
                log.debug("file announced", extra={"file": file.file_id, "element": file.element, "path": file.path})


def _outgoing(topic: str, element: str, key: str, value: bytes) -> Outgoing:
    return Outgoing(topic, partition_of(element), key, value)
