"""FileProducer: from listings to announcements. The decisions are pure; the class lists and announces."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from time import time

from services.scanner.file_name import read
from services.scanner.leader import Term
from services.scanner.ledger import Known, Ledger
from services.scanner.rules import FirstOnes, Rules
from services.scanner.settings import ScannerSettings
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.kafka import KafkaProducer, Outgoing
from shared.messages import FileFound, file_identity, partition_of, path_text, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Denied, Entry, Gone, Session
from shared.settings import System
from shared.topics import FILES_FOUND, FILES_STATUS

log = logging.getLogger(__name__)


def due(known: Known | None, now_s: float, settings: ScannerSettings) -> bool:
    """Whether a file on the element is to be announced: new, back again, waited long enough, or its lease ended."""
    if known is None:
        return True
    age_s = now_s - known.at_s
    if known.stage in {"postponed", "lost"}:  # lost, and there again; or what a server calls missing is forbidden
        return age_s >= min(settings.longest_wait_s, settings.first_wait_s * 2.0 ** min(known.attempt - 1, 30))
    return known.stage == "found" and age_s > settings.lease_s


def found(system: str, endpoint: Endpoint, path: bytes, entry: Entry, epoch: int) -> FileFound:
    """The announcement of a listed file."""
    text, name = path_text(path), read(entry.name, endpoint.zone)
    return FileFound(
        file_id=file_identity(system, endpoint.name, text, entry.size, entry.mtime_s),
        system=system,
        endpoint=endpoint.name,
        element=endpoint.element(name.unique_id if name else ""),
        path=text,
        size=entry.size,
        mtime_s=entry.mtime_s,
        end_s=name.end_s if name else 0,
        epoch=epoch,
    )


def again(file: FileFound, known: Known | None) -> FileFound:
    """The announcement with its number."""
    return FileFound(**{**asdict(file), "attempt": known.attempt + 1}) if known else file


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


@dataclass(frozen=True)
class Room:
    """How many files may be announced now."""

    system: int
    host: Callable[[str], int]

    @classmethod
    def now(cls, system: System, under_way: Mapping[str, int], hosts: Mapping[str, str]) -> "Room":
        """Args: under_way: endpoint -> files announced and not yet stored; hosts: endpoint -> host."""
        used: Counter[str] = Counter()
        for endpoint, count in under_way.items():
            used[hosts.get(endpoint, "")] += count
        left = max(0, system.in_flight_limit - sum(used.values()))
        per_host = system.in_flight_per_host or system.in_flight_limit
        return cls(left, lambda host: max(0, min(left, per_host - used[host])))


def chosen(looks: Iterable[Look], room: Room, backlog_share: float) -> list[FileFound]:
    """Within each host's room and the system's, the newest cycle first."""
    of_host: dict[str, FirstOnes[FileFound]] = {}
    for look in looks:
        host = look.endpoint.host
        first = of_host.setdefault(host, FirstOnes(room.host(host), backlog_share, cycle_of))
        for file in look.files:
            first.offer(file)
    of_system = FirstOnes[FileFound](room.system, backlog_share, cycle_of)
    for first in of_host.values():
        for file in first.chosen():
            of_system.offer(file)
    return of_system.chosen()


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
            path = directory.rstrip(b"/") + b"/" + entry.name
            file = found(self.system.name, endpoint, path, entry, self.epoch)
            known = self.ledger.get(file.file_id)
            if due(known, time(), self.settings):
                first.offer((again(file, known), (directory, entry)))
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
                    if isinstance(entry, Denied):
                        left["directory refused"] += 1
                        log.warning("directory refused", extra={"system": self.system.name, "reason": str(entry)})
                    else:
                        yield where, entry
            except Gone:
                left["no such directory"] += 1


@dataclass(frozen=True)
class FileProducer:
    """Finds the files of one system that nobody has announced, and announces them."""

    system: System
    settings: ScannerSettings
    elements: FtpServiceManager
    producer: KafkaProducer
    ledger: Ledger

    def scan(self, endpoints: Mapping[str, Endpoint], term: Term) -> dict[str, object]:
        """One cycle over all elements; one that does not answer keeps no other waiting. Returns what it found."""
        began_s = time()
        lister = Lister(self.system, self.settings, self.ledger.files, term.epoch)
        under_way = self.ledger.under_way(self.system.name)
        room = Room.now(self.system, under_way.by_endpoint, {name: e.host for name, e in endpoints.items()})
        with ThreadPoolExecutor(self.settings.listings) as pool:
            looks = list(pool.map(lambda e: self._first(lister, e, room, term), endpoints.values()))
            looks = list(pool.map(lambda look: self._second(lister, look, term), looks))
        announced = chosen(looks, room, self.system.backlog_share)
        self._announce(announced, term)
        left = sum((look.left for look in looks), Counter[str]())
        held_back = left.pop("no room", 0) + sum(len(look.files) for look in looks) - len(announced)
        summary: dict[str, object] = {
            "elements": len(looks),
            "unreachable": sum(bool(look.trouble) for look in looks),
            "announced": len(announced),
            "held_back": held_back,
            "waiting_for_fetchers": under_way.found,
            "waiting_for_sinks": under_way.parsed,
            "left": dict(+left),
            "took_s": round(time() - began_s, 2),
        }
        log.log(
            logging.WARNING if held_back else logging.INFO,
            "scanned, holding files back" if held_back else "scanned",
            extra={"system": self.system.name, **summary},
        )
        return summary

    def _first(self, lister: Lister, endpoint: Endpoint, room: Room, term: Term) -> Look:
        if term.over.is_set():
            return Look(endpoint)
        try:
            with self.elements.session(endpoint) as session:
                return lister.first_look(session, endpoint, room.host(endpoint.host))
        except (Unreachable, Hopeless) as error:
            return self._not_scanned(Look(endpoint), error)

    def _second(self, lister: Lister, look: Look, term: Term) -> Look:
        """By our own clock: the element's may be wrong."""
        if not look.files:
            return look
        if term.over.wait(max(0.0, look.at_s + self.settings.settle_s - time())):
            return Look(look.endpoint)
        try:
            with self.elements.session(look.endpoint) as session:
                return lister.second_look(session, look)
        except (Unreachable, Hopeless) as error:
            return self._not_scanned(look, error)

    def _not_scanned(self, look: Look, error: Exception) -> Look:
        extra = {"system": self.system.name, "element": look.endpoint.name, "reason": str(error)}
        log.warning("element not scanned", extra=extra)
        look.files, look.trouble = {}, str(error)
        return look

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


def _outgoing(topic: str, element: str, key: str, value: bytes) -> Outgoing:
    return Outgoing(topic, partition_of(element), key, value)
