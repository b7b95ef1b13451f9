"""The part of the scanner that operators' tools use. They import nothing else of it."""

from collections.abc import Mapping
from time import sleep

from services.scanner.file_name import element_of
from services.scanner.inventory import Inventory
from services.scanner.leader import reported_states
from services.scanner.lister import ElementListing, Lister, announcement, cycle_of
from services.scanner.performance_management import next_run_s
from services.scanner.settings import ScannerSettings, Zookeeper, zookeeper_of
from services.scanner.state import ScanSummary, SystemState
from services.scanner.system_manager import check_configuration
from shared.inventory import Endpoint
from shared.remote.session import Session
from shared.settings import System

__all__ = [
    "ElementListing",
    "ScanSummary",
    "ScannerSettings",
    "SystemState",
    "Zookeeper",
    "announcement",
    "check_configuration",
    "cycle_of",
    "element_of",
    "elements_to_scan",
    "next_run_s",
    "reported_states",
    "trial_listing",
    "zookeeper_of",
]


def elements_to_scan(system: System) -> Mapping[str, Endpoint]:
    """Returns the elements of a system that the scanner collects, by name.

    Raises:
        BadSettings: the inventory or the rollout is invalid.
    """
    return Inventory(system).read()


def trial_listing(session: Session, endpoint: Endpoint, system: System, own: ScannerSettings) -> ElementListing:
    """Lists an element twice, as a scan does, and returns what it would announce if the ledger were empty.

    Raises:
        Unreachable: the element does not respond.
        Hopeless: the element refuses.
    """
    lister = Lister(system, own, ledger={})
    listing = lister.first_listing(session, endpoint, system.in_flight_limit)
    sleep(own.settle_s)
    return lister.second_listing(session, listing)
