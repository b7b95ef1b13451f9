"""Addresses of simulated elements: one each, the same every time, and no connections from outside the machine."""

import resource
from ipaddress import ip_address

import pytest

from tools.simulator.addresses import (
    EVERY_ADDRESS,
    LOOPBACK,
    ServerAddress,
    address_of,
    is_accepted,
    open_files_missing,
)
from tools.simulator.cli import chosen_address

OWN = ServerAddress(EVERY_ADDRESS, "", 40001)
OSS = ServerAddress("10.0.0.1", "oss", 22)


def test_every_element_has_an_address_of_its_own_that_a_host_may_have() -> None:
    found = [address_of(number) for number in range(100_000)]
    assert len(set(found)) == len(found)
    assert all(ip_address(address) in LOOPBACK for address in found)
    assert not any(address.endswith((".0", ".255")) for address in found)
    assert "127.0.0.1" not in found


def test_the_last_address_is_in_the_network_and_there_is_none_behind_it() -> None:
    assert address_of(254 * 256 * 250 - 1) == "127.254.255.250"
    with pytest.raises(ValueError, match="16,256,000"):
        address_of(254 * 256 * 250)


def test_clients_know_the_server_by_the_address_of_each_element_and_by_127_0_0_1() -> None:
    assert OWN.hosts(2) == ["127.0.0.1", "127.1.0.1", "127.1.0.2"]
    assert [OWN.host(number) for number in range(2)] == ["127.1.0.1", "127.1.0.2"]


def test_elements_behind_one_host_share_its_name() -> None:
    assert OSS.hosts(1000) == ["oss"]
    assert {OSS.host(number) for number in range(1000)} == {"oss"}


@pytest.mark.parametrize("local", [("10.0.0.7", 40001), ("0.0.0.0", 40001), ("128.0.0.1", 40001), None])
def test_only_connections_to_loopback_are_accepted_when_the_server_listens_everywhere(
    local: tuple[str, int] | None,
) -> None:
    assert not is_accepted(local, OWN.accepted)
    assert is_accepted(local, OSS.accepted)


def test_a_host_that_is_named_serves_all_elements() -> None:
    assert chosen_address("", "oss", 22) == ServerAddress("127.0.0.1", "oss", 22)
    assert chosen_address("10.0.0.1", "", 0) == ServerAddress("10.0.0.1", "10.0.0.1", 0)


def test_the_limit_of_open_files_is_raised_and_what_is_missing_is_said() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        assert open_files_missing(1) == 0
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        if before[1] != resource.RLIM_INFINITY:
            assert open_files_missing(before[1]) == 3 * before[1] + 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
