"""The connections of a host are divided among the scanners and the fetcher that has it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.inventory import Endpoint
from shared.remote.connection_shares import ConnectionShares, HostUse, fetcher_share, host_uses, scanner_share
from shared.settings import Settings, load


@given(most=st.integers(1, 1000), systems=st.integers(1, 50))
def test_the_shares_are_no_more_than_the_host_allows_and_each_process_has_one(most: int, systems: int) -> None:
    scanner, fetcher = scanner_share(most, systems), fetcher_share(most, systems)
    assert min(scanner, fetcher) >= 1
    assert fetcher + systems * scanner <= max(most, systems + 1)
    if most >= 4 * systems:
        assert fetcher >= most * 3 // 4
        assert fetcher + systems * scanner == most


ENTRIES = st.lists(
    st.builds(
        Endpoint,
        name=st.text("abc", min_size=1),
        host=st.sampled_from(["h1", "h2"]),
        connections=st.integers(0, 3),
    )
)


@given(inventories=st.lists(ENTRIES, max_size=4))
def test_the_smallest_limit_counts_and_each_system_at_a_host(inventories: list[list[Endpoint]]) -> None:
    uses = host_uses(inventories)
    for address, use in uses.items():
        there = [[one for one in inventory if one.address == address] for inventory in inventories]
        assert use.systems == sum(bool(some) for some in there)
        assert use.connections == min((one.connections for some in there for one in some if one.connections), default=0)
    assert uses.keys() == {one.address for inventory in inventories for one in inventory}
    assert host_uses(reversed(inventories)) == uses


class Site:
    """Two systems that share the host `oss`, and a host of its own for one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("4ga", "- {name: a, host: oss}\n- {name: b, host: alone}\n- {name: c, protocol: local}\n")
        self.write("5ga", "- {name: d, host: OSS}\n".lower())
        (folder / "pmflow.yaml").write_text(
            f"elements: {{connections-per-host: 12}}\n4ga: {{inventory: {folder}/4ga.yaml}}\n"
            f"5ga: {{inventory: {folder}/5ga.yaml}}\n"
        )

    def write(self, system: str, inventory: str) -> None:
        (self.folder / f"{system}.yaml").write_text(inventory)

    def settings(self) -> Settings:
        return load((self.folder / "pmflow.yaml",))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_process_has_its_share_by_the_inventories_of_all_systems(site: Site) -> None:
    shares = ConnectionShares(site.settings)
    oss, alone = Endpoint(name="a", host="oss"), Endpoint(name="b", host="alone")
    assert [(shares.scanner(one), shares.fetcher(one)) for one in (oss, alone)] == [(1, 10), (3, 9)]


def test_files_on_the_own_disk_are_not_shared_out(site: Site) -> None:
    shares, local = ConnectionShares(site.settings), Endpoint(name="c", protocol="local")
    assert (shares.scanner(local), shares.fetcher(local)) == (12, 12)


def test_a_changed_inventory_changes_the_shares_and_an_invalid_one_changes_nothing(site: Site) -> None:
    shares, oss = ConnectionShares(site.settings), Endpoint(name="a", host="oss")
    site.write("5ga", "- {name: d, host: elsewhere}\n")
    shares.refresh()
    assert (shares.scanner(oss), shares.fetcher(oss)) == (3, 9)
    site.write("5ga", "- {name: d, host: oss, connections: 4}\n")
    shares.refresh()
    assert (shares.scanner(oss), shares.fetcher(oss)) == (1, 2)
    site.write("5ga", "- {nonsense")
    shares.refresh()
    assert (shares.scanner(oss), shares.fetcher(oss)) == (1, 2)


def test_a_host_that_is_in_no_inventory_counts_as_that_of_one_system(site: Site) -> None:
    shares = ConnectionShares(site.settings)
    assert shares.fetcher(Endpoint(name="x", host="unknown", connections=4)) == 3
    assert shares.uses["alone:22"] == HostUse(1, 0)
