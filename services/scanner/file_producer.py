"""FileProducer: scans all elements of a system and announces new files, each once and as many as may be in flight."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from time import monotonic, time
from typing import Any

from services.scanner.allowance import InFlightAllowance
from services.scanner.element_looks import ElementLooks, ScanEnd
from services.scanner.leader import Term
from services.scanner.ledger import FilesInFlight, LedgerFollower
from services.scanner.lister import DIRECTORY_REASONS, Lister, is_due
from services.scanner.scan import Announcing, Scan
from services.scanner.settings import ScannerSettings
from services.scanner.silent_elements import SilentElements
from services.scanner.state import ScanSummary
from shared.inventory import Endpoint
from shared.kafka.produce import Producer, about_element, announcement_of
from shared.messages import FileFound, status_of
from shared.remote.service_manager import FtpServiceManager
from shared.settings import System
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileProducer:
    """Finds the files of one system that have not been announced yet, and announces them."""

    system: System
    settings: ScannerSettings
    elements: FtpServiceManager
    producer: Producer
    ledger: LedgerFollower
    silent: SilentElements = field(default_factory=SilentElements)

    def scan(
        self,
        endpoints: Mapping[str, Endpoint],
        term: Term,
        progress: Callable[[], None] = lambda: None,
        next_s: float = inf,
    ) -> ScanSummary:
        """Scans all elements once, several at a time, and announces the files of each soon after its second listing.

        Args:
            endpoints: the elements, by name.
            term: the scan ends early when it is over.
            progress: called for each entry and element: a long scan is alive as long as it moves.
            next_s: when the next scan is due; silent elements never delay it.
        """
        began_s, in_flight = time(), self._in_flight()
        end = ScanEnd(term, progress)
        lister = Lister(self.system, self.settings, self.ledger.files, term.epoch, end.proceed)
        looks = ElementLooks(self.system.name, lister, self.elements, self.silent, end)
        trials_until_s = monotonic() + min(self.settings.unreachable_s, max(0.0, next_s - time()))
        announcing = Announcing(
            lambda: self._allowance(endpoints), lambda files: self._announced(files, term), self.system.backlog_share
        )
        summary = replace(
            Scan(endpoints, self.settings, announcing, looks, trials_until_s).run(),
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

    def _is_still_due(self, file: FileFound) -> bool:
        """Returns False if a fetcher has answered since the listing: `found` must not follow its answer."""
        return is_due(self.ledger.files.get(file.file_id), time(), self.settings)

    def _announced(self, selected: Sequence[FileFound], term: Term) -> int:
        """Announces the files that are still due, unless the term is over; returns how many.

        Writes to the ledger first, so that whatever a fetcher says about a file comes after `found`.
        """
        files = [file for file in selected if self._is_still_due(file)]
        if not files or term.over.is_set():
            return 0
        now_s = time()
        files = [replace(file, found_s=file.found_s or now_s) for file in files]
        statuses = [status_of(file, "found", now_s) for file in files]
        self.producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in statuses))
        for status in statuses:
            self.ledger.record(status)
        if not term.over.is_set():
            self.producer.deliver(*(announcement_of(file) for file in files))
            for file in files:
                log.info("file announced", extra=_log_fields(file))
        return len(files)


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
