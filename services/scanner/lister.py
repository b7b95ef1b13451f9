"""Lister: what an element has that is to be announced, found in two looks. The decisions are pure."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import time

from services.scanner.file_name import read
from services.scanner.ledger import Known
from services.scanner.rules import FirstOnes, Rules
from services.scanner.settings import ScannerSettings
from shared.backoff import backoff_s
from shared.inventory import Endpoint
from shared.messages import FileFound, file_identity, path_text
from shared.remote.session import Denied, Entry, Gone, OddEntry, Session, child
from shared.settings import System

log = logging.getLogger(__name__)


def due(known: Known | None, now_s: float, settings: ScannerSettings) -> bool:
    """Whether a file on the element is to be announced: new, back again, waited long enough, or its lease ended."""
    if known is None:
        return True
    age_s = now_s - known.at_s
    if known.stage in {"postponed", "lost"}:  # lost, and there again; or what a server calls missing is forbidden
        return age_s >= backoff_s(known.attempt, settings.first_wait_s, settings.longest_wait_s, jitter=1.0)
    return known.stage in {"found", "fetching"} and age_s > settings.lease_s


def found(system: str, endpoint: Endpoint, path: bytes, entry: Entry, epoch: int) -> FileFound:
    """The announcement of a listed file."""
    text, name = path_text(path), read(entry.name, endpoint.zone)
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


def again(file: FileFound, known: Known | None) -> FileFound:
    """The announcement with its number, and when the first one was."""
    return replace(file, attempt=known.attempt + 1, found_s=known.found_s) if known else file


def cycle_of(file: FileFound) -> int:
    """Higher is newer: the end of its period, or when it was written where the name does not tell."""
    return file.end_s or file.mtime_s


Place = tuple[bytes, Entry]
"""Where a file lies: its directory, and what was listed of it."""
Listed = tuple[FileFound, Place]


@dataclass
class Look:
    """What one element has; at most as many files as there is room for."""

    endpoint: Endpoint
    listed: int = 0
    matching: int = 0
    files: dict[FileFound, Place] = field(default_factory=dict)
    """Those to be announced, with where they lie."""
    left: Counter[str] = field(default_factory=Counter)
    at_s: float = 0.0
    trouble: str = ""
    """Why the element could not be listed."""


class Lister:
    """Looks at an element twice: what both looks found alike, its element has finished, whatever its mtime says."""

    def __init__(self, system: System, settings: ScannerSettings, ledger: Mapping[str, Known], epoch: int = 0) -> None:
        self.system = system
        self.settings = settings
        self.rules = Rules(system, settings.temporary_suffixes)
        self.ledger = ledger
        self.epoch = epoch
        self.away = frozenset(
            where.partition("/")[0].encode() for where in (system.done_directory, system.error_directory)
        )

    def first_look(self, session: Session, endpoint: Endpoint, room: int) -> Look:
        """The files that are due, by name, age and size; as many as there is room for, in bounded memory."""
        look = Look(endpoint)
        first = FirstOnes[Listed](room, self.system.backlog_share, lambda listed: cycle_of(listed[0]))
        for directory, entry in self._listing(session, endpoint, look.left):
            look.listed += 1
            reason = self.rules.left(entry, time())
            if reason:
                look.left[reason] += 1
                continue
            look.matching += 1
            path = child(directory, entry.name)
            known = self.ledger.get(_identity(self.system.name, endpoint, path_text(path), entry))
            if due(known, time(), self.settings):
                file = again(found(self.system.name, endpoint, path, entry, self.epoch), known)
                first.offer((file, (directory, entry)))
        look.files = dict(first.chosen())
        look.left["no room"] = first.offered - len(look.files)
        look.at_s = time()
        return look

    def second_look(self, session: Session, look: Look) -> Look:
        """Leaves out the files that changed since the first look, and those whose marker is not there."""
        places = {place: file for file, place in look.files.items()}
        settled: dict[FileFound, Place] = {}
        marked: set[tuple[bytes, bytes]] = set()
        for directory, entry in self._listing(session, look.endpoint, Counter()):
            if (file := places.get((directory, entry))) is not None:
                settled[file] = directory, entry
            if (name := self.rules.marked(entry.name)) is not None:
                marked.add((directory, name))
        if self.system.marker_suffix:
            unmarked = {file for file, (where, entry) in settled.items() if (where, entry.name) not in marked}
            look.left["no marker"] = len(unmarked)
            settled = {file: place for file, place in settled.items() if file not in unmarked}
        look.left["not settled"] = len(look.files) - len(settled) - look.left["no marker"]
        look.files = settled
        return look

    def _listing(self, session: Session, endpoint: Endpoint, left: Counter[str]) -> Iterator[Place]:
        """All its directories; one of a date that has none yet is an empty one."""
        for directory in endpoint.directories(time()):
            try:
                for where, entry in session.tree(directory, self.system.depth, self.away):
                    if isinstance(entry, OddEntry):
                        left[entry.reason] += 1
                    elif isinstance(entry, Denied):
                        left["directory refused"] += 1
                        log.warning("directory refused", extra={"system": self.system.name, "reason": str(entry)})
                    else:
                        yield where, entry
            except Gone:
                left["no such directory"] += 1
