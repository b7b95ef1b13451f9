"""Looks at elements, in the threads of a scan. An element that fails in whatever way fails alone."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

from services.scanner import metrics
from services.scanner.leader import Term
from services.scanner.lister import ElementListing, Lister
from services.scanner.look_queue import Look
from services.scanner.silent_elements import SilentElements
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Denied, LoginRefused

log = logging.getLogger(__name__)


class ScanOver(Unreachable):
    """The scan or the leadership has ended; it says nothing about the element."""


@dataclass(frozen=True)
class ScanEnd:
    """The end of a scan: its looks that are still under way end at their next entry."""

    term: Term
    progress: Callable[[], None]
    """Called for each entry and element: a long scan is alive as long as it moves."""
    ended: Event = field(default_factory=Event)

    def proceed(self) -> None:
        """Notes progress.

        Raises:
            ScanOver: the scan or the leadership has ended.
        """
        if self.ended.is_set() or self.term.over.is_set():
            raise ScanOver("the scan has ended")
        self.progress()


@dataclass(frozen=True)
class ElementLooks:
    """Lists the elements of one scan."""

    system: str
    lister: Lister
    elements: FtpServiceManager
    silent: SilentElements
    end: ScanEnd

    def connections(self, endpoint: Endpoint) -> int:
        """Returns how many connections to the host of an element this process may have."""
        return self.elements.limit(endpoint)

    def look(self, look: Look) -> None:
        """Lists an element once. Its files are in the listing afterwards, or the trouble is."""
        try:
            with self._contained(look):
                self._list(look)
        finally:
            if look.is_trial:
                self.silent.under_trial.discard(look.endpoint.name)

    def _list(self, look: Look) -> None:
        if not look.is_trial or self.end.term.over.is_set():  # a trial may last beyond its scan
            self.end.proceed()
        with self.elements.session(look.endpoint) as session:
            self.silent.answered(look.endpoint)
            if look.is_second:
                look.listing = self.lister.second_listing(session, look.listing)
            else:
                look.listing = self.lister.first_listing(session, look.endpoint, look.most_files)

    @contextmanager
    def _contained(self, look: Look) -> Iterator[None]:
        """Keeps any failure to the element that caused it: logs it with the element's name, and counts it."""
        extra = {"system": self.system, "element": look.endpoint.name}
        try:
            yield
        except ScanOver:
            look.listing = ElementListing(look.endpoint)
        except (Unreachable, Hopeless) as error:
            self._note(look, error)
            log.warning("element not scanned", extra={**extra, "reason": str(error)})
            look.listing.fail(str(error))
            metrics.ELEMENTS_FAILED.labels(self.system, "unreachable").inc()
        except Exception as error:
            reason = f"defect: {type(error).__name__} {error}"
            log.exception("element not scanned because of a defect", extra={**extra, "reason": reason})
            look.listing.fail(reason)
            metrics.ELEMENTS_FAILED.labels(self.system, "defect").inc()

    def _note(self, look: Look, error: Unreachable | Hopeless) -> None:
        """Remembers an element that is silent. One that refuses something has answered."""
        if isinstance(error, Unreachable) and not isinstance(error, Denied | LoginRefused):
            self.silent.failed(look.endpoint, str(error))
