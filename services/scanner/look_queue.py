"""LookQueue: the order in which a scan looks at its elements, so that none waits for a slow or a silent one. Pure."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from services.scanner.lister import ElementListing
from shared.inventory import Endpoint

SLOW_AFTER_S = 2.0
"""A look that takes longer leaves its place among the living to another element."""
SLOW_PER_LISTING = 2
"""Slow looks for each place of the living; beyond that they keep their places."""
TRIALS_PER_LISTING = 2
"""Trials of silent elements at the same time for each place of the living."""


@dataclass(eq=False)
class Look:
    """One of the two listings of an element."""

    listing: ElementListing
    is_second: bool = False
    is_trial: bool = False
    """True if the element did not answer when it was last tried."""
    most_files: int = 0
    """Files that a first listing may keep, or that the second one began with."""
    last_trouble: str = ""
    """Why an earlier scan could not list the element."""
    began_s: float = 0.0

    @property
    def endpoint(self) -> Endpoint:
        return self.listing.endpoint

    @property
    def host(self) -> tuple[str, int]:
        return self.endpoint.host, self.endpoint.port


@dataclass
class LookQueue:
    """Starts looks at the living, at those found slow in this scan, and at those silent since an earlier scan.

    Each kind has its own places, so the living never wait for the others. No host gets more looks at a time than it
    allows connections.
    """

    listings: int
    """Places of the living."""
    connections: Callable[[Endpoint], int]
    """Returns the largest number of connections to the host of an element."""
    ready: deque[Look] = field(default_factory=deque)
    trials: deque[Look] = field(default_factory=deque)
    settling: list[tuple[float, int, Look]] = field(default_factory=list)
    """Heap of second looks by the time they are due."""
    living: dict[Look, None] = field(default_factory=dict)
    """Looks in work, in the order of their start; likewise the slow ones and the trials."""
    slow: dict[Look, None] = field(default_factory=dict)
    trying: dict[Look, None] = field(default_factory=dict)
    parked: defaultdict[tuple[str, int], deque[Look]] = field(default_factory=lambda: defaultdict(deque))
    """Host -> looks that wait until one of its connections is free."""
    busy: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Host -> looks in work."""
    living_open: int = 0
    """Elements without an outcome that are no trials."""
    numbers: Iterator[int] = field(default_factory=count)

    def add(self, looks: Iterable[Look]) -> None:
        """Adds first looks, in the order in which they are to be started."""
        for look in looks:
            (self.trials if look.is_trial else self.ready).append(look)
            self.living_open += not look.is_trial

    def add_second(self, look: Look, due_s: float) -> None:
        """Adds the second look at an element. It is one of the living, whatever it was."""
        second = Look(look.listing, is_second=True, most_files=len(look.listing.files))
        heapq.heappush(self.settling, (due_s, next(self.numbers), second))
        self.living_open += 1

    def startable(self, now_s: float, places: int, trials: int) -> Iterator[Look]:
        """Yields the looks to start now.

        Args:
            now_s: the time.
            places: most living elements to look at at a time, up to `listings`.
            trials: silent elements that may be tried in addition to those under trial.
        """
        self._set_slow_ones_aside(now_s)
        while self.settling and self.settling[0][0] <= now_s:
            self.ready.appendleft(heapq.heappop(self.settling)[2])
        yield from self._startable(self.ready, self.living, min(places, self.listings), now_s)
        yield from self._startable(self.trials, self.trying, len(self.trying) + trials, now_s)

    def end(self, look: Look) -> None:
        """Frees the places of a look that has ended."""
        for in_work in (self.living, self.slow, self.trying):
            in_work.pop(look, None)
        self.living_open -= not look.is_trial
        self.busy[look.host] -= 1
        parked = self.parked.get(look.host)
        while parked:
            freed = parked.popleft()
            (self.trials if freed.is_trial else self.ready).appendleft(freed)
            if not freed.is_trial:  # a trial may have to wait, and must keep nothing else waiting
                return

    def only_settling(self) -> bool:
        """Returns True if nothing is to be done before a second look is due."""
        return bool(self.settling) and not (self.ready or self.living or self.slow or self.trying)

    def only_slow(self) -> bool:
        """Returns True if no element is left but slow ones, those that wait for them at their host, and silent ones."""
        return not (self.ready or self.settling or self.living)

    def next_due_s(self) -> float | None:
        return self.settling[0][0] if self.settling else None

    def silent_open(self) -> bool:
        """Returns True if silent elements are being tried, or are still to be."""
        return bool(self.trying) or bool(self.untried())

    def untried(self) -> list[Look]:
        """Returns the trials that were not started."""
        return [*self.trials, *(look for parked in self.parked.values() for look in parked if look.is_trial)]

    def _set_slow_ones_aside(self, now_s: float) -> None:
        while self.living and len(self.slow) < self.listings * SLOW_PER_LISTING:
            oldest = next(iter(self.living))
            if now_s - oldest.began_s < SLOW_AFTER_S:
                return
            del self.living[oldest]
            self.slow[oldest] = None

    def _startable(self, queue: deque[Look], in_work: dict[Look, None], places: int, now_s: float) -> Iterator[Look]:
        while queue and len(in_work) < places:
            look = queue.popleft()
            if self.busy[look.host] >= self.connections(look.endpoint):
                self._park(look)
                continue
            self.busy[look.host] += 1
            look.began_s = now_s
            in_work[look] = None
            yield look

    def _park(self, look: Look) -> None:
        parked = self.parked[look.host]
        if look.is_second:
            parked.appendleft(look)
        else:
            parked.append(look)
