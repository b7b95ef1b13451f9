"""ConnectionShares: the connections that a host allows, divided among the processes that connect to it.

The scanner that leads a system has its share of the hosts of that system. All the rest is for the fetcher that has the
host. See docs/decisions/0028-a-host-has-one-fetcher.md.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shared.inventory import Endpoint, endpoints
from shared.settings import BadSettings, Settings, System

SCANNERS_PART = 4
"""The scanners together have one in so many connections of a host."""


def scanner_share(most: int, systems: int) -> int:
    """Returns the connections to a host of the scanner that leads one of so many systems with elements there.

    >>> scanner_share(8, 1), scanner_share(8, 2), scanner_share(8, 5)
    (2, 1, 1)
    """
    return max(1, most // SCANNERS_PART // systems)


def fetcher_share(most: int, systems: int) -> int:
    """Returns the connections to a host of the fetcher that has it: all that the scanners leave, at least one.

    >>> fetcher_share(8, 1), fetcher_share(8, 2), fetcher_share(8, 5)
    (6, 6, 3)
    """
    return max(1, most - systems * scanner_share(most, systems))


@dataclass(frozen=True, slots=True)
class HostUse:
    """The use of one address, by the inventories."""

    systems: int
    """The number of systems with elements there."""
    connections: int
    """The smallest limit in the elements' entries; 0: there is none."""


def host_uses(inventories: Iterable[Iterable[Endpoint]]) -> dict[str, HostUse]:
    """Returns the use of each address. Each inventory is that of one system."""
    uses: dict[str, HostUse] = {}
    for inventory in inventories:
        limits: dict[str, int] = {}
        for endpoint in inventory:
            limits[endpoint.address] = _smaller(limits.get(endpoint.address, 0), endpoint.connections)
        for address, limit in limits.items():
            known = uses.get(address, HostUse(0, 0))
            uses[address] = HostUse(known.systems + 1, _smaller(known.connections, limit))
    return uses


def _smaller(one: int, other: int) -> int:
    """Returns the smaller of two limits, of which 0 is none."""
    return min(one, other) if one and other else one or other


Inventories = Mapping[str, Mapping[str, Endpoint]]


class ConnectionShares:
    """The shares of a process in the hosts of all systems, by the settings and inventories as they are now."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Args: settings: returns the current settings."""
        self.settings = settings
        self.inventories: Inventories = {}
        self.uses: Mapping[str, HostUse] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads the inventories again; an invalid one counts as it was before. Costs little if none has changed."""
        found = {system.name: self._inventory(system) for system in self.settings().systems}
        if found.keys() != self.inventories.keys() or any(found[n] is not self.inventories[n] for n in found):
            self.uses = host_uses(inventory.values() for inventory in found.values())
            self.inventories = found

    def scanner(self, endpoint: Endpoint) -> int:
        """Returns how many connections a scanner may have to the host of an endpoint."""
        return self._share(endpoint, scanner_share)

    def fetcher(self, endpoint: Endpoint) -> int:
        """Returns how many connections a fetcher may have to the host of an endpoint."""
        return self._share(endpoint, fetcher_share)

    def _share(self, endpoint: Endpoint, share: Callable[[int, int], int]) -> int:
        use = self.uses.get(endpoint.address, HostUse(1, endpoint.connections))
        most = use.connections or self.settings().elements.connections_per_host
        return most if endpoint.protocol == "local" else share(most, use.systems)

    def _inventory(self, system: System) -> Mapping[str, Endpoint]:
        try:
            return endpoints(system)
        except BadSettings:
            return self.inventories.get(system.name, {})
