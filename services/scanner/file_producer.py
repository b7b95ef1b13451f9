"""FileProducer: scans all elements of a system and announces new files, each once and as many as may be in flight."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from time import time
from typing import Any

from services.scanner.leader import Term
from services.scanner.ledger import LedgerFollower
from services.scanner.lister import ElementListing, Lister, cycle_of, is_due
from services.scanner.rules import NewestFirst
from services.scanner.settings import ScannerSettings
from services.scanner.state import ScanSummary
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.kafka.produce import Producer, about_element
from shared.messages import FileFound, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.settings import System
from shared.topics import FILES_FOUND, FILES_STATUS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InFlightAllowance:
    """The number of files of a system that may be announced now, in total and per host."""

    total: int
    of_host: Callable[[str], int]

    @classmethod
    def remaining(cls, system: System, in_flight: Mapping[str, int], hosts: Mapping[str, str]) -> "InFlightAllowance":
        """Returns what the limits of a system leave.

        Args:
            system: its settings.
            in_flight: endpoint -> files announced and not stored yet.
            hosts: endpoint -> host.
        """
        used: Counter[str] = Counter()
        for endpoint, count in in_flight.items():
            used[hosts.get(endpoint, "")] += count
        total = max(0, system.in_flight_limit - sum(used.values()))
        per_host = system.in_flight_per_host or system.in_flight_limit
        return cls(total, lambda host: max(0, min(total, per_host - used[host])))


def select_files(
    listings: Iterable[ElementListing], allowance: InFlightAllowance, backlog_share: float
) -> list[FileFound]:
    """Returns the files to announce: the newest cycle first, within the allowance of each host and of the system."""
    of_host: dict[str, NewestFirst[FileFound]] = {}
    for listing in listings:
        host = listing.endpoint.host
        newest = of_host.setdefault(host, NewestFirst(allowance.of_host(host), backlog_share, cycle_of))
        for file in listing.files:
            newest.offer(file)
    of_system = NewestFirst[FileFound](allowance.total, backlog_share, cycle_of)
    for newest in of_host.values():
        for file in newest.selected():
            of_system.offer(file)
    return of_system.selected()


@dataclass(frozen=True)
class FileProducer:
    """Finds the files of one system that have not been announced yet, and announces them."""

    system: System
    settings: ScannerSettings
    elements: FtpServiceManager
    producer: Producer
    ledger: LedgerFollower

    def scan(self, endpoints: Mapping[str, Endpoint], term: Term) -> ScanSummary:
        """Scans all elements once, several at a time. An element that does not respond does not delay the others."""
        began_s = time()
        lister = Lister(self.system, self.settings, self.ledger.files, term.epoch)
        in_flight = self.ledger.in_flight(self.system.name, self.system.complete_on)
        hosts = {name: endpoint.host for name, endpoint in endpoints.items()}
        allowance = InFlightAllowance.remaining(self.system, in_flight.by_endpoint, hosts)
        with ThreadPoolExecutor(self.settings.listings) as pool:
            listings = list(pool.map(lambda e: self._list(lister, e, allowance, term), endpoints.values()))
            listings = list(pool.map(lambda listing: self._list_again(lister, listing, term), listings))
        selected = select_files(listings, allowance, self.system.backlog_share)
        files = [file for file in selected if self._is_still_due(file)]
        self._announce(files, term)
        left = sum((listing.left for listing in listings), Counter[str]())
        held_back = left.pop("no room", 0) + sum(len(listing.files) for listing in listings) - len(files)
        summary = ScanSummary(
            elements=len(listings),
            unreachable=sum(bool(listing.trouble) for listing in listings),
            announced=len(files),
            held_back=held_back,
            waiting_for_fetchers=in_flight.waiting_for_fetchers,
            waiting_for_sinks=in_flight.waiting_for_sinks,
            left=dict(+left),
            took_s=round(time() - began_s, 2),
        )
        _log_scan(self.system.name, summary)
        return summary

    def _list(self, lister: Lister, endpoint: Endpoint, allowance: InFlightAllowance, term: Term) -> ElementListing:
        if term.over.is_set():
            return ElementListing(endpoint)
        try:
            with self.elements.session(endpoint) as session:
                return lister.first_listing(session, endpoint, allowance.of_host(endpoint.host))
        except (Unreachable, Hopeless) as error:
            return self._not_scanned(ElementListing(endpoint), error)

    def _list_again(self, lister: Lister, listing: ElementListing, term: Term) -> ElementListing:
        """Lists again after `settle_s`, measured by the scanner's clock as the element's may be wrong."""
        if not listing.files:
            return listing
        if term.over.wait(max(0.0, listing.at_s + self.settings.settle_s - time())):
            return ElementListing(listing.endpoint)
        try:
            with self.elements.session(listing.endpoint) as session:
                return lister.second_listing(session, listing)
        except (Unreachable, Hopeless) as error:
            return self._not_scanned(listing, error)

    def _not_scanned(self, listing: ElementListing, error: Exception) -> ElementListing:
        extra = {"system": self.system.name, "element": listing.endpoint.name, "reason": str(error)}
        log.warning("element not scanned", extra=extra)
        listing.files, listing.trouble = {}, str(error)
        return listing

    def _is_still_due(self, file: FileFound) -> bool:
        """Returns False if a fetcher has answered since the listing: `found` must not follow its answer."""
        return is_due(self.ledger.files.get(file.file_id), time(), self.settings)

    def _announce(self, files: Sequence[FileFound], term: Term) -> None:
        """Writes to the ledger first, so that whatever a fetcher says about a file comes after `found`."""
        if not files or term.over.is_set():
            return
        now_s = time()
        files = [replace(file, found_s=file.found_s or now_s) for file in files]
        statuses = [status_of(file, "found", now_s) for file in files]
        self.producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in statuses))
        for status in statuses:
            self.ledger.record(status)
        if not term.over.is_set():
            self.producer.deliver(*(about_element(FILES_FOUND, f.element, f.element, f.encode()) for f in files))
            for file in files:
                log.info("file announced", extra=_log_fields(file))


def _log_scan(system: str, summary: ScanSummary) -> None:
    level, event = logging.INFO, "scanned"
    if summary.held_back:
        level, event = logging.WARNING, "scanned, files held back"
    log.log(level, event, extra={"system": system, **asdict(summary)})


def _log_fields(file: FileFound) -> dict[str, Any]:
    return {"file": file.file_id, **{name: getattr(file, name) for name in ("system", "element", "path", "attempt")}}
