"""FileProducer: from looks at all elements to announcements: as many as there is room for, each once."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import time
from typing import Any

from services.scanner.leader import Term
from services.scanner.ledger import Ledger
from services.scanner.lister import Lister, Look, cycle_of
from services.scanner.rules import FirstOnes
from services.scanner.settings import ScannerSettings
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.kafka.produce import Producer, about_element
from shared.messages import FileFound, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.settings import System
from shared.topics import FILES_FOUND, FILES_STATUS

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class FileProducer:
    """Finds the files of one system that nobody has announced, and announces them."""

    system: System
    settings: ScannerSettings
    elements: FtpServiceManager
    producer: Producer
    ledger: Ledger

    def scan(self, endpoints: Mapping[str, Endpoint], term: Term) -> dict[str, Any]:
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
        summary: dict[str, Any] = {
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
        now_s = time()
        files = [replace(file, found_s=file.found_s or now_s) for file in files]
        statuses = [status_of(file, "found", now_s) for file in files]
        self.producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in statuses))
        for status in statuses:
            self.ledger.note(status)
        if not term.over.is_set():
            self.producer.deliver(*(about_element(FILES_FOUND, f.element, f.element, f.encode()) for f in files))
            for file in files:
                log.info("file announced", extra=_facts(file))


def _facts(file: FileFound) -> dict[str, Any]:
    told = ("system", "element", "path", "attempt")
    return {"file": file.file_id, **{name: getattr(file, name) for name in told}}
