"""The number of files that may be announced, and how it is given out while elements finish one by one. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from services.scanner.lister import ElementListing, cycle_of
from services.scanner.rules import NewestFirst
from shared.messages import FileFound
from shared.settings import System

HostFile = tuple[str, FileFound]
"""A file and the host that it is fetched from."""


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
    offered = ((listing.endpoint.host, file) for listing in listings for file in listing.files)
    return [file for _, file in _selected(offered, allowance, backlog_share)]


def _selected(offered: Iterable[HostFile], allowance: InFlightAllowance, backlog_share: float) -> list[HostFile]:
    of_host: dict[str, NewestFirst[HostFile]] = {}
    for one in offered:
        host = one[0]
        if host not in of_host:
            of_host[host] = NewestFirst(allowance.of_host(host), backlog_share, _cycle)
        of_host[host].offer(one)
    of_system = NewestFirst[HostFile](allowance.total, backlog_share, _cycle)
    for newest in of_host.values():
        for one in newest.selected():
            of_system.offer(one)
    return of_system.selected()


def _cycle(one: HostFile) -> int:
    return cycle_of(one[1])


@dataclass
class SharedAllowance:
    """Gives out an allowance while elements finish one after the other.

    Elements that have finished get their part by number, the newest cycle first. What they have beyond it waits until
    all others have had theirs (`rest`).
    """

    allowance: InFlightAllowance
    backlog_share: float
    elements: int
    given: Counter[str] = field(default_factory=Counter)
    """Host -> files given since the allowance was computed."""
    given_in_all: int = 0
    beyond: list[HostFile] = field(default_factory=list)
    """Files that wait for the rest; no more of them are kept than can be announced."""
    settling: int = 0
    """Files of elements that are between their two listings."""

    def most_of(self, host: str) -> int:
        """Returns how many files the listing of an element may keep.

        All listings that wait for their second one together keep about twice the allowance, but at least a fair share
        each.
        """
        fair = ceil(self.allowance.total / max(1, self.elements))
        return min(self._left().of_host(host), max(fair, 2 * self.allowance.total - self.settling))

    def part(self, listings: Sequence[ElementListing], others: int) -> list[FileFound]:
        """Returns the files of finished elements that may be announced now; `others` have not finished yet."""
        offered = [(listing.endpoint.host, file) for listing in listings for file in listing.files]
        left = self._left().share(len(listings) / max(1, len(listings) + others))
        taken = self._taken(offered, left)
        self.beyond += (one for one in offered if one[1] not in taken)
        if len(self.beyond) > 2 * self.allowance.total:
            self.beyond = _selected(self.beyond, self.allowance, self.backlog_share)
        return list(taken)

    def rest(self, allowance: InFlightAllowance, others: int) -> list[FileFound]:
        """Returns more files of the finished elements, within an allowance computed anew.

        Args:
            allowance: does not contain any more what was announced so far.
            others: elements that have not finished; their share is kept for them.
        """
        self.allowance, self.given, self.given_in_all = allowance, Counter(), 0
        taken = self._taken(self.beyond, allowance.share(1 - others / max(1, self.elements, others)))
        self.beyond = [one for one in self.beyond if one[1] not in taken]
        return list(taken)

    def _left(self) -> InFlightAllowance:
        left, of_host, given = max(0, self.allowance.total - self.given_in_all), self.allowance.of_host, self.given
        return InFlightAllowance(left, lambda host: max(0, min(left, of_host(host) - given[host])))

    def _taken(self, offered: Sequence[HostFile], allowance: InFlightAllowance) -> dict[FileFound, None]:
        selected = _selected(offered, allowance, self.backlog_share)
        self.given.update(host for host, _ in selected)
        self.given_in_all += len(selected)
        return dict.fromkeys(file for _, file in selected)
