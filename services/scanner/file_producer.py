"""FileProducer: scans all elements of a system and announces new files, each once and as many as may be in flight."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import ceil
from time import time
from typing import Any

from services.scanner import metrics
from services.scanner.leader import Term
from services.scanner.ledger import FilesInFlight, LedgerFollower
from services.scanner.lister import DIRECTORY_REASONS, ElementListing, Lister, cycle_of, is_due
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
MOST_TROUBLES = 20
"""Elements that could not be listed whose reasons a scanner reports; all of them are logged."""


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

    def share(self, part: float) -> "InFlightAllowance":
        """Returns the part (0 to 1) that some of the elements may use, so that something is left for the others."""
        total = ceil(self.total * part)
        return InFlightAllowance(total, lambda host: min(total, self.of_host(host)))


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

    def scan(
        self, endpoints: Mapping[str, Endpoint], term: Term, progress: Callable[[], None] = lambda: None
    ) -> ScanSummary:
        """Scans all elements once, several at a time. An element that fails in whatever way fails alone.

        Args:
            endpoints: the elements, by name.
            term: the scan ends early when it is over.
            progress: called for each entry and element: a long scan is alive as long as it moves.
        """

        def proceed() -> None:
            progress()
            if term.over.is_set():
                raise Unreachable("the leadership ended during the scan")

        began_s = time()
        in_flight = self._in_flight()
        listings: list[ElementListing] = []
        announced = held_back = 0
        for batch, share in self._batches(endpoints, term, proceed):
            allowance = self._allowance(endpoints).share(share)
            selected = select_files(batch, allowance, self.system.backlog_share)
            files = [file for file in selected if self._is_still_due(file)]
            held_back += sum(len(listing.files) for listing in batch) - len(files)
            announced += len(self._announced(files, term))
            listings += batch
        summary = replace(
            _summary(listings, announced, held_back),
            waiting_for_fetchers=in_flight.waiting_for_fetchers,
            waiting_for_sinks=in_flight.waiting_for_sinks,
            took_s=round(time() - began_s, 2),
        )
        _log_scan(self.system.name, summary)
        return summary

    def _in_flight(self) -> FilesInFlight:
        return self.ledger.in_flight(self.system.name, self.system.complete_on)

    def _allowance(self, endpoints: Mapping[str, Endpoint]) -> InFlightAllowance:
        hosts = {name: endpoint.host for name, endpoint in endpoints.items()}
        return InFlightAllowance.remaining(self.system, self._in_flight().by_endpoint, hosts)

    def _batches(
        self, endpoints: Mapping[str, Endpoint], term: Term, proceed: Callable[[], None]
    ) -> Iterator[tuple[list[ElementListing], float]]:
        """Yields the listings that are complete after each `announce_after_s`, so that none waits for a slow element.

        With them comes their share of the elements that are not announced yet.
        """
        lister = Lister(self.system, self.settings, self.ledger.files, term.epoch, proceed)
        allowance = self._allowance(endpoints)
        with ThreadPoolExecutor(self.settings.listings) as first, ThreadPoolExecutor(self.settings.listings) as second:
            waiting = {first.submit(self._list, lister, e, allowance, term) for e in endpoints.values()}
            try:
                while waiting:
                    done, waiting = wait(waiting, self.settings.announce_after_s)
                    again = second.map(lambda future: self._list_again(lister, future.result(), term), done)
                    if batch := list(again):
                        yield batch, len(done) / (len(done) + len(waiting))
            finally:
                for future in waiting:
                    future.cancel()

    def _list(self, lister: Lister, endpoint: Endpoint, allowance: InFlightAllowance, term: Term) -> ElementListing:
        listing = ElementListing(endpoint)
        if term.over.is_set():
            return listing
        with self._contained(listing, lister), self.elements.session(endpoint) as session:
            return lister.first_listing(session, endpoint, allowance.of_host(endpoint.host))
        return listing

    def _list_again(self, lister: Lister, listing: ElementListing, term: Term) -> ElementListing:
        """Lists again after `settle_s`, measured by the scanner's clock as the element's may be wrong."""
        if not listing.files:
            return listing
        if term.over.wait(max(0.0, listing.at_s + self.settings.settle_s - time())):
            return ElementListing(listing.endpoint)
        with self._contained(listing, lister), self.elements.session(listing.endpoint) as session:
            return lister.second_listing(session, listing)
        return listing  # it failed

    @contextmanager
    def _contained(self, listing: ElementListing, lister: Lister) -> Iterator[None]:
        """Keeps any failure to the element that caused it: logs it with the element's name, and counts it."""
        extra = {"system": self.system.name, "element": listing.endpoint.name}
        try:
            lister.proceed()
            yield
        except (Unreachable, Hopeless) as error:
            log.warning("element not scanned", extra={**extra, "reason": str(error)})
            listing.fail(str(error))
            metrics.ELEMENTS_FAILED.labels(self.system.name, "unreachable").inc()
        except Exception as error:
            reason = f"defect: {type(error).__name__} {error}"
            log.exception("element not scanned because of a defect", extra={**extra, "reason": reason})
            listing.fail(reason)
            metrics.ELEMENTS_FAILED.labels(self.system.name, "defect").inc()

    def _is_still_due(self, file: FileFound) -> bool:
        """Returns False if a fetcher has answered since the listing: `found` must not follow its answer."""
        return is_due(self.ledger.files.get(file.file_id), time(), self.settings)

    def _announced(self, files: Sequence[FileFound], term: Term) -> Sequence[FileFound]:
        """Announces files, unless the term is over, and returns the announced ones.

        Writes to the ledger first, so that whatever a fetcher says about a file comes after `found`.
        """
        if not files or term.over.is_set():
            return ()
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
        return files


def _summary(listings: Sequence[ElementListing], announced: int, held_back: int) -> ScanSummary:
    """Returns what became of the files of all listings."""
    left = sum((listing.left for listing in listings), Counter[str]())
    troubles = {listing.endpoint.name: listing.trouble for listing in listings if listing.trouble}
    return ScanSummary(
        listed=sum(listing.listed for listing in listings),
        on_record=sum(listing.on_record for listing in listings),
        elements=len(listings),
        unreachable=len(troubles),
        announced=announced,
        held_back=held_back + left.pop("no room", 0),
        left=dict(+left),
        troubles=dict(sorted(troubles.items())[:MOST_TROUBLES]),
    )


def outcomes(summary: ScanSummary) -> dict[str, int]:
    """Returns the number of listed files by what became of them; the sum is all that were listed."""
    by_reason = {reason: files for reason, files in summary.left.items() if reason not in DIRECTORY_REASONS}
    known = {"announced": summary.announced, "held back": summary.held_back, "on record": summary.on_record}
    return {outcome: files for outcome, files in {**by_reason, **known}.items() if files}


def _log_scan(system: str, summary: ScanSummary) -> None:
    level, event = logging.INFO, "scanned"
    if summary.held_back:
        level, event = logging.WARNING, "scanned, files held back"
    log.log(level, event, extra={"system": system, **asdict(summary)})


def _log_fields(file: FileFound) -> dict[str, Any]:
    return {"file": file.file_id, **{name: getattr(file, name) for name in ("system", "element", "path", "attempt")}}
