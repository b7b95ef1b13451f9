"""Lister: finds the files on an element that are to be announced, by listing it twice. The decisions are pure."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import NamedTuple

from services.scanner.file_name import parse_file_name
from services.scanner.ledger import KnownFile
from services.scanner.rules import FileRules, NewestFirst
from services.scanner.settings import ScannerSettings
from shared.backoff import backoff_s
from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.messages import File, FileFound, file_identity, path_text
from shared.remote.session import Denied, Entry, Gone, OddEntry, Session, child
from shared.settings import System

log = logging.getLogger(__name__)
MOST_ENTRIES = 2_000_000
"""The most entries of one element; a listing with more does not end."""
DIRECTORY_REASONS = frozenset(("directory refused", "no such directory"))
"""Reasons that are counted by directory; all others by file."""


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
    element = endpoint.element(name.unique_id if name else "")
    return FileFound(
        file_id=_identity(system, endpoint, text, entry),
        system=system,
        endpoint=endpoint.name,
        element=element,
        path=text,
        size=entry.size,
        mtime_s=entry.mtime_s,
        end_s=name.end_s if name else 0,
        epoch=epoch,
        announced_in=endpoint.announcement_partition(element),
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


Offered = tuple[FileFound, ListedEntry]


@dataclass
class ElementListing:
    """The files of one element that may be announced, as many as the limits allow, and why others are left."""

    endpoint: Endpoint
    listed: int = 0
    """Entries that are no directories; each is in `files`, on record, or left for a reason."""
    matching: int = 0
    on_record: int = 0
    """Files that the ledger knows as in flight, finished, or waiting to be announced again."""
    files: dict[FileFound, ListedEntry] = field(default_factory=dict)
    """The files to announce, with their entries."""
    left: Counter[str] = field(default_factory=Counter)
    """Reason -> files left on the element for it."""
    trouble: str = ""
    """Why the element could not be listed; empty if it could."""

    def fail(self, trouble: str) -> None:
        """Gives up what was found: the next scan tries again."""
        self.left["element not scanned"] += len(self.files)
        self.files, self.trouble = {}, trouble


class Lister:
    """Lists an element twice: a file that is the same in both listings is complete, whatever its mtime says."""

    def __init__(
        self,
        system: System,
        settings: ScannerSettings,
        ledger: Mapping[str, KnownFile],
        epoch: int = 0,
        proceed: Callable[[], None] = lambda: None,
    ) -> None:
        """Args: proceed: called for each entry; raises Unreachable to end the listing."""
        self.proceed = proceed
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
        newest = NewestFirst[Offered](limit, self.system.backlog_share, lambda offered: cycle_of(offered[0]))
        for directory, entry in self._listing(session, endpoint, listing.left):
            listing.listed += 1
            if isinstance(entry, OddEntry) or self.rules.is_finished(directory):
                listing.left[entry.reason if isinstance(entry, OddEntry) else "finished"] += 1
                continue
            try:
                self._consider(listing, newest, ListedEntry(directory, entry))
            except Exception:
                if not listing.left["defect"]:
                    extra = {"system": self.system.name, "element": endpoint.name, "path": path_text(entry.name)}
                    log.exception("file not announced because of a defect", extra=extra)
                listing.left["defect"] += 1
        selected = newest.selected()
        listing.files = dict(selected)
        listing.left["listed twice"] = len(selected) - len(listing.files)
        listing.left["no room"] = newest.offered - len(selected)
        return listing

    def _consider(self, listing: ElementListing, newest: NewestFirst[Offered], listed: ListedEntry) -> None:
        """Counts a file that is left or on record, and offers any other one for announcement."""
        directory, entry = listed
        if reason := self.rules.reason_left(entry, time()):
            listing.left[reason] += 1
            return
        path = child(directory, entry.name)
        known = self.ledger.get(_identity(self.system.name, listing.endpoint, path_text(path), entry))
        if is_due(known, time(), self.settings):
            file = announcement(self.system.name, listing.endpoint, path, entry, self.epoch)
            newest.offer((with_attempt(file, known), listed))
        else:
            listing.on_record += 1
        listing.matching += 1

    def second_listing(self, session: Session, listing: ElementListing) -> ElementListing:
        """Removes the files that changed since the first listing, and those whose marker file is missing."""
        file_of = {listed: file for file, listed in listing.files.items()}
        settled: dict[FileFound, ListedEntry] = {}
        marked: set[tuple[bytes, bytes]] = set()
        for directory, entry in self._listing(session, listing.endpoint, Counter()):
            if isinstance(entry, OddEntry):
                continue
            listed = ListedEntry(directory, entry)
            if (file := file_of.get(listed)) is not None:
                settled[file] = listed
            if (name := self.rules.marked(entry.name)) is not None:
                marked.add((directory, name))
        if self.system.marker_suffix:
            unmarked = {file for file, (where, entry) in settled.items() if (where, entry.name) not in marked}
            listing.left["no marker"] = len(unmarked)
            settled = {file: listed for file, listed in settled.items() if file not in unmarked}
        listing.left["not settled"] = len(listing.files) - len(settled) - listing.left["no marker"]
        listing.files = settled
        return listing

    def _listing(
        self, session: Session, endpoint: Endpoint, left: Counter[str]
    ) -> Iterator[tuple[bytes, Entry | OddEntry]]:
        """Yields the entries of all directories of an element; a missing one, as of a future date, counts as empty.

        Raises:
            Unreachable: the listing has too many entries or takes too long.
            Denied: no directory could be listed, and at least one was refused.
        """
        refused: list[Denied] = []
        any_listed, entries, until_s = False, 0, monotonic() + self.settings.listing_s
        for directory in endpoint.directories(time()):
            try:
                for where, entry in session.tree(directory, self.system.depth, self.finished_directories):
                    self.proceed()
                    entries += 1
                    if entries > MOST_ENTRIES or monotonic() > until_s:
                        raise Unreachable(
                            f"the listing does not end: {entries} entries, at most {MOST_ENTRIES} entries and "
                            f"{self.settings.listing_s:.0f} s (scanner: listing_s)"
                        )
                    if isinstance(entry, Denied):
                        self._refused(endpoint, entry, left)
                    else:
                        yield where, entry
                any_listed = True
            except Gone:
                left["no such directory"] += 1
            except Denied as error:
                self._refused(endpoint, error, left)
                refused.append(error)
        if refused and not any_listed:
            raise refused[0]

    def _refused(self, endpoint: Endpoint, error: Denied, left: Counter[str]) -> None:
        left["directory refused"] += 1
        extra = {"system": self.system.name, "element": endpoint.name, "reason": str(error)}
        log.warning("directory not listed", extra=extra)
