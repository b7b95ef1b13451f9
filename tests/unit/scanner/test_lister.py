"""The files announced of an element, with local folders and with generated listings."""

import tracemalloc
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest

from services.scanner.ledger import KnownFile
from services.scanner.lister import ElementListing, Lister, announcement, cycle_of, is_due, with_attempt
from services.scanner.settings import ScannerSettings
from shared.inventory import Endpoint
from shared.messages import partition_of, path_bytes
from shared.remote.local import LocalSession
from shared.remote.session import Entry
from shared.settings import System

OWN = ScannerSettings(lease_s=600.0, first_wait_s=10.0, longest_wait_s=300.0)


def known(stage: str, attempt: int = 1) -> KnownFile:
    return KnownFile("4ga", "e1", stage, 0.0, attempt)


def test_a_file_is_announced_once_until_its_lease_ends_or_it_comes_back() -> None:
    assert is_due(None, 0.0, OWN)
    assert is_due(known("lost"), 10.0, OWN)
    assert not is_due(known("found"), 600.0, OWN)
    assert is_due(known("found"), 601.0, OWN)
    for stage in ("parsed", "failed", "done", "error"):
        assert not is_due(known(stage), 10_000.0, OWN)


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 10.0), (2, 20.0), (3, 40.0), (6, 300.0), (5000, 300.0)])
def test_a_file_that_could_not_be_fetched_is_announced_again_after_longer_and_longer_waits(
    attempt: int, wait_s: float
) -> None:
    for stage in ("postponed", "lost"):
        assert not is_due(known(stage, attempt), wait_s - 0.1, OWN)
        assert is_due(known(stage, attempt), wait_s, OWN)


def test_announcements_of_a_file_are_counted() -> None:
    file = announcement("4ga", Endpoint(name="e1"), b"/pm/A", Entry(b"A", 1, 2), epoch=7)
    assert with_attempt(file, None).attempt == 1
    assert with_attempt(file, known("postponed", attempt=2)).attempt == 3


def test_a_name_of_any_bytes_is_announced_and_found_again() -> None:
    endpoint = Endpoint(name="e1", host="h", username="u", directory="/pm/")
    file = announcement("4ga", endpoint, b"/pm/a\xff\n%41.xml", Entry(b"a\xff\n%41.xml", 1, 2), epoch=7)
    assert path_bytes(file.path) == b"/pm/a\xff\n%41.xml"
    assert (file.element, file.endpoint, file.epoch) == ("e1", "e1", 7)


def test_the_cycle_is_that_of_the_name_or_else_the_time_of_writing() -> None:
    endpoint = Endpoint(name="e1", host="h", directory="/pm", time_zone="Europe/Rome", aliases=("gnb-7",))
    name = b"A20230715.0700-0715_enb-7.xml"
    file = announcement("4ga", endpoint, b"/pm/" + name, Entry(name, 1, 2), epoch=7)
    assert (file.element, file.end_s, cycle_of(file)) == ("enb-7", 1689398100, 1689398100)
    assert cycle_of(announcement("4ga", endpoint, b"/pm/A.xml", Entry(b"A.xml", 1, 2), epoch=7)) == 2
    alias = b"A20230715.0700-0715_gnb-7.xml"
    assert announcement("4ga", endpoint, b"/pm/" + alias, Entry(alias, 1, 2), epoch=7).element == "e1"


def test_the_files_of_all_elements_behind_a_host_are_announced_in_its_partition() -> None:
    oss = Endpoint(name="oss", host="oss.example.org")
    named = [b"A20230715.0700-0715_enb-%d.xml" % n for n in range(30)]
    files = [announcement("4ga", oss, b"/pm/" + name, Entry(name, 1, 2), epoch=7) for name in named]
    assert len({file.element for file in files}) == 30
    assert {file.announced_in for file in files} == {partition_of("oss.example.org:22")}
    of_disk = replace(oss, protocol="local")
    on_disk = [announcement("4ga", of_disk, b"/pm/" + name, Entry(name, 1, 2), epoch=7) for name in named]
    assert [file.announced_in for file in on_disk] == [partition_of(file.element) for file in on_disk]


def lister(ledger: Mapping[str, KnownFile] | None = None, **settings: Any) -> Lister:
    return Lister(System(name="4ga", **settings), ScannerSettings(), ledger or {}, epoch=1)


def names(listing: ElementListing) -> list[str]:
    return sorted(file.path.rpartition("/")[2] for file in listing.files)


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    (tmp_path / "pm").mkdir()
    return Endpoint(name="e1", protocol="local", directory=str(tmp_path / "pm"))


def write(endpoint: Endpoint, **files: str) -> None:
    for name, content in files.items():
        path = Path(endpoint.directory, *name.split("__"))
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)


def test_files_that_are_the_same_in_two_listings_are_announced_and_the_rest_has_a_reason(endpoint: Endpoint) -> None:
    write(endpoint, whole="a", growing="a", gone="a", empty="")
    element_lister = lister()
    listing = element_lister.first_listing(LocalSession(), endpoint, limit=10)
    assert (listing.listed, listing.matching, names(listing)) == (4, 3, ["gone", "growing", "whole"])
    write(endpoint, growing="ab")
    Path(endpoint.directory, "gone").unlink()
    listing = element_lister.second_listing(LocalSession(), listing)
    assert names(listing) == ["whole"]
    assert +listing.left == {"too small": 1, "not settled": 2}


def test_a_file_in_the_ledger_is_not_announced_but_a_new_version_of_it_is(endpoint: Endpoint) -> None:
    write(endpoint, A="a")
    (file,) = lister().first_listing(LocalSession(), endpoint, limit=10).files
    ledger = {file.file_id: KnownFile("4ga", "e1", "done", time())}
    assert names(lister(ledger).first_listing(LocalSession(), endpoint, limit=10)) == []
    write(endpoint, A="corrected")
    assert names(lister(ledger).first_listing(LocalSession(), endpoint, limit=10)) == ["A"]


def test_a_file_waits_for_its_marker(endpoint: Endpoint) -> None:
    write(endpoint, A="a", B="b")
    Path(endpoint.directory, "B.ok").touch()
    element_lister = lister(marker_suffix=".ok")
    listing = element_lister.second_listing(
        LocalSession(), element_lister.first_listing(LocalSession(), endpoint, limit=10)
    )
    assert names(listing) == ["B"]
    assert +listing.left == {"marker": 1, "no marker": 1}


def test_subdirectories_are_listed_to_a_depth_but_never_those_of_finished_files(
    endpoint: Endpoint,
) -> None:
    write(endpoint, A="a", sub__B="b", sub__done__C="c", done__D="d", error__E="e", sub__sub__F="f")
    assert names(lister().first_listing(LocalSession(), endpoint, limit=10)) == ["A"]
    assert names(lister(depth=1).first_listing(LocalSession(), endpoint, limit=10)) == ["A", "B"]
    assert names(lister(depth=2).first_listing(LocalSession(), endpoint, limit=10)) == ["A", "B", "F"]


def test_a_missing_directory_of_a_day_counts_as_empty(endpoint: Endpoint, tmp_path: Path) -> None:
    several = Endpoint(name="e1", protocol="local", directory=f"{tmp_path}/%Y%m%d, {endpoint.directory}")
    write(endpoint, A="a")
    listing = lister().first_listing(LocalSession(), several, limit=10)
    assert (names(listing), listing.left["no such directory"]) == (["A"], 2)


class Large(LocalSession):
    """A session whose directory contains the given number of files."""

    def __init__(self, files: int) -> None:
        super().__init__()
        self.files = files

    def tree(self, directory: bytes, depth: int, leave: Collection[bytes] = ()) -> Iterator[tuple[bytes, Entry]]:
        for number in range(self.files):
            yield directory, Entry(b"A20230715.0700-0715_enb-%06d.xml" % number, 1, number)


def test_a_directory_is_listed_in_the_same_memory_however_large_it_is() -> None:
    peaks = {}
    for files in (1_000, 10_000):
        element_lister, session = lister(), Large(files)
        tracemalloc.start()
        try:
            listing = element_lister.first_listing(session, Endpoint(name="e1"), limit=100)
            peaks[files] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (listing.listed, len(listing.files), listing.left["no room"]) == (files, 100, files - 100)
    assert peaks[10_000] < 1.2 * peaks[1_000]
