"""The last check before a file is announced."""

from time import time
from typing import Any, cast

from services.scanner.file_producer import FileProducer
from services.scanner.ledger import LedgerFollower
from services.scanner.lister import ElementListing, ListedEntry, announcement
from services.scanner.settings import ScannerSettings
from shared.configuration.kafka import Kafka
from shared.defects import DefectBudget
from shared.inventory import Endpoint
from shared.kafka.produce import Producer
from shared.messages import status_of
from shared.remote.session import Entry
from shared.settings import System


def listing_of(host: str, *cycles: int) -> ElementListing:
    endpoint = Endpoint(name=f"on-{host}", host=host)
    entries = [Entry(f"{cycle}.xml".encode(), 1, cycle) for cycle in cycles]
    files = {announcement("4ga", endpoint, b"/" + e.name, e, epoch=1): ListedEntry(b"/", e) for e in entries}
    return ElementListing(endpoint, files=files)


def test_a_file_that_a_fetcher_answered_since_the_listing_is_not_announced() -> None:
    ledger = LedgerFollower(Kafka(bootstrap_servers="127.0.0.1:1"), cast("Producer", None), DefectBudget())
    nothing = cast("Any", None)
    producer = FileProducer(System(name="4ga"), ScannerSettings(), nothing, nothing, ledger)
    (file,) = listing_of("a", 9).files
    assert producer._is_still_due(file)
    for stage in ("found", "parsed", "done"):
        ledger.record(status_of(file, stage, time()))
        assert not producer._is_still_due(file)
    ledger.record(status_of(file, "postponed", time() - 60.0))
    assert producer._is_still_due(file)
