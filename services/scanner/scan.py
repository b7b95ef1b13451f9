"""Scan: one pass over the elements of a system. One thread decides, those of `Workers` list."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic, process_time

from services.scanner.allowance import InFlightAllowance, SharedAllowance
from services.scanner.element_looks import ElementLooks
from services.scanner.lister import ElementListing
from services.scanner.look_pace import LookPace
from services.scanner.look_queue import TRIALS_PER_LISTING, Look, LookQueue
from services.scanner.settings import ScannerSettings
from services.scanner.state import ScanSummary
from services.scanner.workers import Workers
from shared.inventory import Endpoint
from shared.messages import FileFound

MOST_TROUBLES = 20
"""Elements that could not be listed whose reasons a scanner reports; all of them are logged."""
TICK_S = 0.5
"""Longest wait before the queue is looked at again."""
DELIVERY_TICK_S = 0.05
"""The same while an announcement is being delivered."""


@dataclass
class ScanTally:
    """The outcomes of a scan so far."""

    listed: int = 0
    on_record: int = 0
    elements: int = 0
    settled: int = 0
    announced: int = 0
    not_tried: int = 0
    left: Counter[str] = field(default_factory=Counter)
    troubles: dict[str, str] = field(default_factory=dict)

    def add(self, listing: ElementListing) -> None:
        """Adds an element that has been listed, or could not be."""
        self.elements += 1
        self.listed += listing.listed
        self.on_record += listing.on_record
        self.settled += len(listing.files)
        self.left += listing.left
        if listing.trouble:
            self.troubles[listing.endpoint.name] = listing.trouble

    def add_silent(self, name: str, trouble: str, *, tried: bool) -> None:
        """Adds an element without an answer when the scan ended."""
        self.elements += 1
        self.not_tried += not tried
        self.troubles[name] = trouble

    def summary(self) -> ScanSummary:
        left = self.left.copy()
        return ScanSummary(
            listed=self.listed,
            on_record=self.on_record,
            elements=self.elements,
            unreachable=len(self.troubles),
            not_tried=self.not_tried,
            announced=self.announced,
            held_back=self.settled - self.announced + left.pop("no room", 0),
            left=dict(+left),
            troubles=dict(sorted(self.troubles.items())[:MOST_TROUBLES]),
        )


@dataclass(frozen=True)
class Announcing:
    """The way of the files that a scan finds: how many may be announced, and what announces them."""

    allowance: Callable[[], InFlightAllowance]
    """Returns how many files may be announced now."""
    announce: Callable[[Sequence[FileFound]], int]
    """Announces those files that are still due; returns how many they were."""
    backlog_share: float


class Scan:
    """One pass over the elements of a system."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        settings: ScannerSettings,
        announcing: Announcing,
        looks: ElementLooks,
        trials_until_s: float,
    ) -> None:
        """Creates a scan that has not begun.

        Args:
            endpoints: the elements, by name.
            settings: of the scanner.
            announcing: takes the files.
            looks: lists an element.
            trials_until_s: when the scan ends, by the monotonic clock, even if silent elements are left to be tried.
        """
        self.endpoints = endpoints
        self.settings = settings
        self.announcing = announcing
        self.looks = looks
        self.end = looks.end
        self.queue = LookQueue(settings.listings, looks.connections)
        self.pace = LookPace(settings.listings, monotonic(), process_time())
        self.shared = SharedAllowance(announcing.allowance(), announcing.backlog_share, len(endpoints))
        self.tally = ScanTally()
        self.finished: list[ElementListing] = []
        """Elements whose files have not been given their part of the allowance yet."""
        self.delivery: Future[int] | None = None
        self.announce_at_s = 0.0
        self.rest_given = False
        self.trials_until_s = trials_until_s

    def run(self) -> ScanSummary:
        """Lists all elements; returns when the living are done, and the time for the silent ones is over or enough."""
        self._fill()
        workers = Workers(self.looks.look)
        with ThreadPoolExecutor(1) as deliveries:
            try:
                self._start(workers)
                while not self._is_done():
                    self._receive(workers)
                    self._announce(deliveries)
                    self._start(workers)
                self._announce_all()
            finally:
                self.end.ended.set()
                workers.close()
        self._add_silent_ones()
        return self.tally.summary()

    def _fill(self) -> None:
        """Fills the queue. The living come in random order, so that dead neighbours do not come all at once."""
        silent = self.looks.silent
        silent.forget_others(self.endpoints)
        trials = {silence.endpoint.name: silence for silence in silent.longest_untried_first()}
        living = [endpoint for name, endpoint in self.endpoints.items() if name not in trials]
        random.shuffle(living)
        self.queue.add(Look(ElementListing(endpoint)) for endpoint in living)
        for name, silence in trials.items():
            if name in silent.under_trial:
                self.tally.add_silent(
                    name, f"not answered yet, tried since an earlier scan: {silence.reason}", tried=True
                )
            else:
                self.queue.add([Look(ElementListing(silence.endpoint), is_trial=True, last_trouble=silence.reason)])

    def _is_done(self) -> bool:
        if self.end.term.over.is_set():
            return True
        queue = self.queue
        return not queue.living_open and (not queue.silent_open() or monotonic() >= self.trials_until_s)

    def _start(self, workers: Workers[Look]) -> None:
        now_s, under_trial = monotonic(), self.looks.silent.under_trial
        trials = self.settings.listings * TRIALS_PER_LISTING - len(under_trial)
        may_try = now_s < self.trials_until_s or not workers.threads  # each scan begins with some trials
        places = self.pace.places_now(now_s, process_time(), len(self.queue.living))
        for look in self.queue.startable(now_s, places, trials if may_try else 0):
            if not look.is_second:
                look.most_files = self.shared.most_of(look.endpoint.host)
            if look.is_trial:
                under_trial.add(look.endpoint.name)
            workers.submit(look)

    def _receive(self, workers: Workers[Look]) -> None:
        """Waits for looks that end, or for the next thing that is due.

        It is no progress if no look ends, unless nothing is awaited but a time.
        """
        ended = workers.ended(self._wait_s())
        for look in ended:
            self._take(look)
        if ended or self.queue.only_settling() or not self.queue.living_open:
            self.end.progress()

    def _wait_s(self) -> float:
        until_s = [TICK_S + (now_s := monotonic())]
        if self.delivery is not None:
            until_s.append(now_s + DELIVERY_TICK_S)
        elif self.finished:
            until_s.append(self.announce_at_s)
        if (due_s := self.queue.next_due_s()) is not None:
            until_s.append(due_s)
        return max(0.0, min(until_s) - now_s)

    def _take(self, look: Look) -> None:
        """Takes a look that has ended: the element gets its second one later, or is finished."""
        self.queue.end(look)
        listing = look.listing
        if look.is_second:
            self.shared.settling -= look.most_files
        elif listing.files:
            self.shared.settling += len(listing.files)
            self.queue.add_second(look, monotonic() + self.settings.settle_s)
            return
        self.tally.add(listing)
        if listing.files:
            self.finished.append(listing)

    def _announce(self, deliveries: ThreadPoolExecutor) -> None:
        """Announces, beside the scan, what has been finished since the last time."""
        if self.delivery is not None and not self.delivery.done():
            return
        self._delivered()
        now_s, living = monotonic(), not self.queue.only_slow()
        if self.finished and (now_s >= self.announce_at_s or not living):
            files, self.finished = self.shared.part(self.finished, self.queue.living_open), []
            self.announce_at_s = now_s + self.settings.announce_after_s
        elif not living and self.shared.beyond and not self.rest_given:
            self.rest_given = True
            files = self.shared.rest(self.announcing.allowance(), self.queue.living_open)
        else:
            return
        if files:
            self.delivery = deliveries.submit(self.announcing.announce, files)

    def _announce_all(self) -> None:
        """Announces what is left when no element is awaited any more."""
        self._delivered()
        if self.finished:
            self.tally.announced += self.announcing.announce(self.shared.part(self.finished, 0))
        if self.shared.beyond:
            rest = self.shared.rest(self.announcing.allowance(), 0)
            self.tally.announced += self.announcing.announce(rest)

    def _delivered(self) -> None:
        """Counts what was announced; waits for it.

        Raises:
            Unreachable: Kafka did not take a record.
        """
        if self.delivery is not None:
            self.tally.announced += self.delivery.result()
            self.delivery = None
            self.end.progress()

    def _add_silent_ones(self) -> None:
        if self.end.term.over.is_set():
            return
        for look in self.queue.trying:
            self.tally.add_silent(look.endpoint.name, f"not answered yet: {look.last_trouble}", tried=True)
        for look in self.queue.untried():
            self.tally.add_silent(look.endpoint.name, f"not tried in this scan: {look.last_trouble}", tried=False)
