"""Lister: finds the files on an element that are to be announced, by listing it twice. The decisions are pure."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import time
from typing import NamedTuple

from services.scanner.file_name import parse_file_name
from services.scanner.ledger import KnownFile
from services.scanner.rules import FileRules, NewestFirst
from services.scanner.settings import ScannerSettings
from shared.backoff import backoff_s
from shared.inventory import Endpoint
from shared.messages import File, FileFound, file_identity, path_text
from shared.remote.session import Denied, Entry, Gone, Session, child
from shared.settings import System

log = logging.getLogger(__name__)


def is_due(known: KnownFile | None, now_s: float, settings: ScannerSettings) -> bool:
    """Returns whether a file on the element is to be announced.

    It is if it is new, came back after it was lost, has waited long enough after it could not be fetched, or if the
    lease of its last announcement has ended.
    """
    if known is None:
        return True
    age_s = now_s - known.at_s
    if known.stage in {"postponed", "lost"}:  # a lost file is listed again, or its server hides that access is denied
        return age_s >= backoff_s(known.attempt, settings.first_wait_s, settings.longest_wait_s, jitter=1.0)
    return known.stage in {"found", "fetching"} and age_s > settings.lease_s


def announcement(system: str, endpoint: Endpoint, path: bytes, entry: Entry, epoch: int) -> FileFound:
    """Returns the announcement of a listed file."""
    text, name = path_text(path), parse_file_name(entry.name, endpoint.zone)
    return FileFound(
        file_id=_identity(system, endpoint, text, entry),
        system=system,
        endpoint=endpoint.name,
        element=endpoint.element(name.unique_id if name else ""),
        path=text,
        size=entry.size,
        mtime_s=entry.mtime_s,
        end_s=name.end_s if name else 0,
        epoch=epoch,
    )


def _identity(system: str, endpoint: Endpoint, path: str, entry: Entry) -> str:
    return file_identity(system, endpoint.name, path, entry.size, entry.mtime_s)


def with_attempt(file: FileFound, known: KnownFile | None) -> FileFound:
    """Returns the announcement with its attempt number and the time of the first announcement."""
    return replace(file, attempt=known.attempt + 1, found_s=known.found_s) if known else file


def cycle_of(file: File) -> int:
    """Returns a number that is higher for newer cycles: the end of the period, or the mtime if the name has none."""
    return file.end_s or file.mtime_s


class ListedEntry(NamedTuple):
    """An entry of a listing, with the directory it was listed in."""

    directory: bytes
    entry: Entry


@dataclass
class ElementListing:
    """The files of one element that may be announced, as many as the limits allow, and why others are left."""

    endpoint: Endpoint
    listed: int = 0
    matching: int = 0
    files: dict[FileFound, ListedEntry] = field(default_factory=dict)
    """The files to announce, with their entries."""
    left: Counter[str] = field(default_factory=Counter)
    """Reason -> files left on the element for it."""
    at_s: float = 0.0
    trouble: str = ""
    """Why the element could not be listed; empty if it could."""


class Lister:
    """Lists an element twice: a file that is the same in both listings is complete, whatever its mtime says."""

    def __init__(
        self, system: System, settings: ScannerSettings, ledger: Mapping[str, KnownFile], epoch: int = 0
    ) -> None:
        self.system = system
        self.settings = settings
        self.rules = FileRules(system, settings.temporary_suffixes)
        self.ledger = ledger
        self.epoch = epoch
        self.finished_directories = frozenset(
            where.partition("/")[0].encode() for where in (system.done_directory, system.error_directory)
        )
        """Names of the directories that hold finished files; they are not scanned."""

    def first_listing(self, session: Session, endpoint: Endpoint, limit: int) -> ElementListing:
        """Returns up to `limit` files that match the rules and are due. Needs the same memory for any directory."""
        listing = ElementListing(endpoint)
        newest = NewestFirst[tuple[FileFound, ListedEntry]](
            limit, self.system.backlog_share, lambda offered: cycle_of(offered[0])
        )
        for directory, entry in self._listing(session, endpoint, listing.left):
            listing.listed += 1
            reason = self.rules.reason_left(entry, time())
            if reason:
                listing.left[reason] += 1
                continue
            listing.matching += 1
            path = child(directory, entry.name)
            known = self.ledger.get(_identity(self.system.name, endpoint, path_text(path), entry))
            if is_due(known, time(), self.settings):
                file = with_attempt(announcement(self.system.name, endpoint, path, entry, self.epoch), known)
                newest.offer((file, ListedEntry(directory, entry)))
        listing.files = dict(newest.selected())
        listing.left["no room"] = newest.offered - len(listing.files)
        listing.at_s = time()
        return listing

    def second_listing(self, session: Session, listing: ElementListing) -> ElementListing:
        """Removes the files that changed since the first listing, and those whose marker file is missing."""
        file_of = {listed: file for file, listed in listing.files.items()}
        settled: dict[FileFound, ListedEntry] = {}
        marked: set[tuple[bytes, bytes]] = set()
        for listed in self._listing(session, listing.endpoint, Counter()):
            if (file := file_of.get(listed)) is not None:
                settled[file] = listed
            if (name := self.rules.marked(listed.entry.name)) is not None:
                marked.add((listed.directory, name))
        if self.system.marker_suffix:
            unmarked = {file for file, (where, entry) in settled.items() if (where, entry.name) not in marked}
            listing.left["no marker"] = len(unmarked)
            settled = {file: listed for file, listed in settled.items() if file not in unmarked}
        listing.left["not settled"] = len(listing.files) - len(settled) - listing.left["no marker"]
        listing.files = settled
        return listing

    def _listing(self, session: Session, endpoint: Endpoint, left: Counter[str]) -> Iterator[ListedEntry]:
        """Yields the entries of all directories of an element; a missing one, as of a future date, counts as empty."""
        for directory in endpoint.directories(time()):
            try:
                for where, entry in session.tree(directory, self.system.depth, self.finished_directories):
                    if isinstance(entry, Denied):
                        left["directory refused"] += 1
                        log.warning("directory not listed", extra={"system": self.system.name, "reason": str(entry)})
                    else:
                        yield ListedEntry(where, entry)
            except Gone:
                left["no such directory"] += 1
