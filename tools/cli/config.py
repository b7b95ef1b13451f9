"""`pmflow config check`: tests a configuration before it is used, with a trial login and listing of its elements."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from time import time
from typing import Annotated

import typer

from services.fetcher.operate import Preprocessing, read_preprocessing
from services.scanner.operate import ScannerSettings, check_configuration, elements_to_scan, trial_listing
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote.connection_shares import ConnectionShares
from shared.remote.service_manager import FtpServiceManager
from shared.settings import BadSettings, Settings, System, load
from tools.cli.dev.docs import OWN_SECTIONS
from tools.cli.output import OutputTable, say, show

app = typer.Typer(no_args_is_help=True, help="Test the configuration.")


@dataclass(frozen=True)
class ElementTrial:
    """The result of logging in to one element and listing its files."""

    element: str
    found: int = 0
    """Number of files listed."""
    matching: int = 0
    """Number of them that match by name, age and size."""
    settled: int = 0
    """Number of matching files that did not change between two looks; limited by in-flight-limit."""
    left: str = ""
    """Reasons why the others would be left, with their counts."""
    trouble: str = ""


@app.command("check")
def check_config(
    elements: Annotated[
        int, typer.Option(help="number of elements of each system to try; 0: check only the configuration")
    ] = 10,
    system: Annotated[str, typer.Option(help="check only this system")] = "",
) -> None:
    """Test the configuration that PMFLOW_CONFIG names, and log in to some elements; exit with 1 if anything is wrong.

    Nothing is announced, moved or stored.
    """
    try:
        settings = load()
        own = settings.section("scanner", ScannerSettings)
        for name, cls in OWN_SECTIONS.items():
            settings.section(name, cls)
        wanted = [found for found in settings.systems if system in {"", found.name}]
        check_configuration(settings, own, wanted)
        meanings = {one.name: read_preprocessing(one) for one in wanted}
    except BadSettings as error:
        say(f"refused: {error}")
        raise typer.Exit(1) from error
    good = True
    for one in wanted:
        inventory = elements_to_scan(one)
        tried = list(try_elements(settings, own, one, dict(islice(inventory.items(), elements))))
        good = good and not any(trial.trouble for trial in tried)
        show(trials_table(one, len(inventory), meanings[one.name], tried))
    raise typer.Exit(0 if good else 1)


def try_elements(
    settings: Settings, own: ScannerSettings, system: System, tried: Mapping[str, Endpoint]
) -> Iterator[ElementTrial]:
    """Logs in to each element and lists it twice, as a scan would."""
    manager = FtpServiceManager(settings.elements, limit=ConnectionShares(lambda: settings).scanner)

    def trial(endpoint: Endpoint) -> ElementTrial:
        try:
            with manager.session(endpoint) as session:
                listing = trial_listing(session, endpoint, system, own)
        except (Unreachable, Hopeless) as error:
            return ElementTrial(endpoint.name, trouble=str(error))
        left = ", ".join(f"{count} {reason}" for reason, count in sorted((+listing.left).items()))
        nowhere = listing.left["no such directory"] == len(endpoint.directories(time()))
        trouble = f"no such directory: {endpoint.directory}" if nowhere else ""
        return ElementTrial(endpoint.name, listing.listed, listing.matching, len(listing.files), left, trouble)

    with ThreadPoolExecutor(own.listings) as pool:
        yield from pool.map(trial, tried.values())
    manager.close()


def trials_table(system: System, elements: int, wanted: Preprocessing, tried: list[ElementTrial]) -> OutputTable:
    """Returns a table with one row per element that was tried."""
    known = f", {len(wanted.dictionary.by_group):,} counters in its dictionary" if wanted.dictionary else ""
    shown = OutputTable(
        "element", "found", "matching", "settled", "left because", "error",
        title=f"{system.name}: the configuration is valid; {elements} elements, {len(tried)} tried{known}",
    )  # fmt: skip
    for trial in tried:
        counts = (f"{count:,}" for count in (trial.found, trial.matching, trial.settled))
        shown.add_row(trial.element, *counts, trial.left, trial.trouble)
    return shown
