"""Limits on the number of announced files, and their order."""

from collections.abc import Mapping
from time import time
from typing import Any, cast

from services.scanner.allowance import InFlightAllowance, select_files
from services.scanner.file_producer import FileProducer
from services.scanner.ledger import LedgerFollower
from services.scanner.lister import ElementListing, ListedEntry, announcement
from services.scanner.settings import ScannerSettings
from shared.defects import DefectBudget
from shared.inventory import Endpoint
from shared.kafka.produce import Producer
from shared.messages import FileFound, status_of
from shared.remote.session import Entry
from shared.settings import System


def listing_of(host: str, *cycles: int) -> ElementListing:
    endpoint = Endpoint(name=f"on-{host}", host=host)
    entries = [Entry(f"{cycle}.xml".encode(), 1, cycle) for cycle in cycles]
    files = {announcement("4ga", endpoint, b"/" + e.name, e, epoch=1): ListedEntry(b"/", e) for e in entries}
    return ElementListing(endpoint, files=files)


def announced(listings: list[ElementListing], system: System, in_flight: Mapping[str, int]) -> list[tuple[str, int]]:
    allowance = InFlightAllowance.remaining(system, in_flight, {"on-a": "a", "on-b": "b"})
    files: list[FileFound] = select_files(listings, allowance, system.backlog_share)
    return [(file.endpoint, file.mtime_s) for file in files]


def test_a_full_queue_takes_the_newest_cycle_and_some_of_the_backlog_and_leaves_the_rest() -> None:
    system = System(name="4ga", in_flight_limit=4, backlog_share=0.25)
    listings = [listing_of("a", 1, 2, 3, 9), listing_of("b", 8, 9)]
    assert sorted(announced(listings, system, {})) == [("on-a", 1), ("on-a", 9), ("on-b", 8), ("on-b", 9)]
    assert announced(listings, system, {"on-a": 4}) == []
    assert announced(listings, system, {"on-a": 3}) in ([("on-a", 9)], [("on-b", 9)])


def test_a_host_gets_no_more_files_than_its_own_limit() -> None:
    system = System(name="4ga", in_flight_limit=10, in_flight_per_host=2, backlog_share=0.0)
    listings = [listing_of("a", 1, 2, 3, 9), listing_of("b", 8, 9)]
    assert sorted(announced(listings, system, {"on-a": 1})) == [("on-a", 9), ("on-b", 8), ("on-b", 9)]


def test_a_file_that_a_fetcher_answered_since_the_listing_is_not_announced() -> None:
    ledger = LedgerFollower("127.0.0.1:1", cast("Producer", None), DefectBudget())
    nothing = cast("Any", None)
    producer = FileProducer(System(name="4ga"), ScannerSettings(), nothing, nothing, ledger)
    (file,) = listing_of("a", 9).files
    assert producer._is_still_due(file)
    for stage in ("found", "parsed", "done"):
        ledger.record(status_of(file, stage, time()))
        assert not producer._is_still_due(file)
    ledger.record(status_of(file, "postponed", time() - 60.0))
    assert producer._is_still_due(file)
