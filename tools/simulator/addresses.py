"""The addresses of simulated elements: one of 127.0.0.0/8 for each, or one host for all of them."""

import resource
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address

LOOPBACK = IPv4Network("127.0.0.0/8")
ONE_HOST = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - connections to other addresses than those of LOOPBACK are refused
ADDRESSES_PER_BLOCK = 250
"""Addresses used of each 127.x.y.0/24, so that none ends in 0 or 255."""
FILES_PER_ELEMENT = 4
"""Open files for each element: two connections and a file that each of them reads."""
OTHER_FILES = 200


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The address on which the server listens, and the ones that clients use."""

    listen: str
    advertised: str
    """The host of all elements; empty: each element has an address of its own."""
    port: int

    def host(self, number: int) -> str:
        """Returns the host of the element with a number."""
        return self.advertised or address_of(number)

    def hosts(self, elements: int) -> list[str]:
        """Returns the names under which clients reach the server, each once."""
        return list(dict.fromkeys([self.advertised or ONE_HOST, *map(self.host, range(elements))]))

    @property
    def accepted(self) -> IPv4Network | None:
        """The network of the local addresses of accepted connections; None: any."""
        return None if self.advertised else LOOPBACK


def address_of(number: int) -> str:
    """Returns the address of the element with a number, always the same.

    >>> [address_of(number) for number in (0, 249, 250, 64_000)]
    ['127.1.0.1', '127.1.0.250', '127.1.1.1', '127.2.0.1']
    """
    block, last = divmod(number, ADDRESSES_PER_BLOCK)
    second, third = divmod(block, 256)
    if second >= 254:
        raise ValueError(f"element number {number}: 127.0.0.0/8 has addresses for {254 * 256 * ADDRESSES_PER_BLOCK:,}")
    return f"127.{second + 1}.{third}.{last + 1}"


def is_accepted(local: Iterable[object] | None, network: IPv4Network | None) -> bool:
    """Returns True if the local end of a connection, as the socket names it, is in the network.

    >>> is_accepted(("10.0.0.7", 22), LOOPBACK), is_accepted(("127.1.0.7", 22), LOOPBACK)
    (False, True)
    """
    if network is None:
        return True
    host, *_ = local or ("0.0.0.0",)  # noqa: S104 - unknown
    return ip_address(str(host)) in network


def can_use_all_of_loopback() -> bool:
    """Returns True if the machine has all addresses of 127.0.0.0/8; macOS has 127.0.0.1 only."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address_of(0), 0))
        except OSError:
            return False
    return True


def open_files_missing(elements: int) -> int:
    """Raises the limit of open files as far as it may be; returns how many are missing for so many elements."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = elements * FILES_PER_ELEMENT + OTHER_FILES
    return 0 if hard == resource.RLIM_INFINITY else max(wanted - hard, 0)
