"""Logs in to a sample of the elements and lists their files, as a scan would. Nothing is announced, moved or stored."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from time import time

from services.scanner.operate import ScannerSettings, elements_to_scan, trial_listing
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote.connection_shares import ConnectionShares
from shared.remote.service_manager import FtpServiceManager
from shared.settings import BadSettings, Settings, System
from tools.cli.doctor.findings import Finding, Installation

PATIENCE_S = 8.0
"""Longest wait for an element, whatever `elements.timeout-s` says: the doctor does not wait like a service."""
AHEAD_S = 60
"""A file that seems to be written in the future by more than this comes from a wrong clock or time zone."""
ELEMENT_REMEDIES = (
    ("host key", "compare the fingerprint, then: ssh-keyscan -p {port} {host} >> the file of elements.known-hosts"),
    ("known-hosts", "set elements.known-hosts to a file with the keys of the elements: ssh-keyscan -p {port} {host}"),
    ("uthentication", "check username, password-file or key-file of the element in the inventory"),
    ("login", "check username, password-file or key-file of the element in the inventory"),
    ("no such directory", "correct directory of the element in the inventory"),
    ("", "check host and port in the inventory, and that the network lets this machine through"),
)
"""A part of the reason of a failure -> what to do; the first that matches."""


@dataclass(frozen=True)
class ElementTrial:
    """The result of logging in to one element and listing its files."""

    endpoint: Endpoint
    found: int = 0
    """Number of files listed."""
    matching: int = 0
    """Number of them that match by name, age and size."""
    settled: int = 0
    """Number of matching files that did not change between two looks; limited by in-flight-limit."""
    left: Mapping[str, int] | None = None
    """Reasons why the others would be left, with their counts."""
    newest_s: float = 0.0
    """Time of the newest settled file, by the element's clock."""
    trouble: str = ""


def check_elements(installation: Installation) -> Iterator[Finding]:
    """Yields one finding per element that was tried."""
    settings = installation.settings
    own = settings.section("scanner", ScannerSettings)
    for system in settings.systems:
        if installation.system not in {"", system.name}:
            continue
        try:
            tried = sample(elements_to_scan(system), installation.elements)
        except BadSettings:
            yield Finding("skipped", f"{system.name}: its inventory must be mended first, see the area settings")
            continue
        for trial in try_elements(settings, own, system, tried):
            yield from trial_findings(system.name, trial, time())
    if installation.elements:
        yield Finding(
            "ok",
            "clocks of the elements: unknown, as SFTP and FTP do not tell them; "
            "only files from the future give them away",
        )


def sample(inventory: Mapping[str, Endpoint], count: int) -> Mapping[str, Endpoint]:
    """Returns so many elements, spread evenly over the inventory."""
    step = max(1, len(inventory) // count) if count else 1
    return dict(islice(inventory.items(), 0, step * count, step))


def try_elements(
    settings: Settings, own: ScannerSettings, system: System, tried: Mapping[str, Endpoint]
) -> Sequence[ElementTrial]:
    """Logs in to each element and lists it twice, as a scan would."""
    limits = replace(
        settings.elements,
        timeout_s=min(settings.elements.timeout_s, PATIENCE_S),
        wait_s=min(settings.elements.wait_s, PATIENCE_S),
    )
    shares = ConnectionShares(lambda: settings)
    manager = FtpServiceManager(limits, at_most_s=PATIENCE_S + own.settle_s, limit=shares.scanner)

    def trial(endpoint: Endpoint) -> ElementTrial:
        try:
            with manager.session(endpoint) as session:
                listing = trial_listing(session, endpoint, system, own)
        except (Unreachable, Hopeless) as error:
            return ElementTrial(endpoint, trouble=str(error))
        nowhere = listing.left["no such directory"] == len(endpoint.directories(time()))
        trouble = f"no such directory: {endpoint.directory}" if nowhere else ""
        newest_s = max((file.mtime_s for file in listing.files), default=0)
        left = dict(sorted((+listing.left).items()))
        return ElementTrial(endpoint, listing.listed, listing.matching, len(listing.files), left, newest_s, trouble)

    with ThreadPoolExecutor(own.listings) as pool:
        found = list(pool.map(trial, tried.values()))
    manager.close()
    return found


def trial_findings(system: str, trial: ElementTrial, now_s: float) -> Iterator[Finding]:
    """Yields what is wrong with one element, or the numbers of its files."""
    at = trial.endpoint
    whose = f"{system}, {at.name} ({at.host}:{at.port})"
    if trial.trouble:
        remedy = next(remedy for part, remedy in ELEMENT_REMEDIES if part in trial.trouble)
        yield Finding(
            "error",
            f"{whose}: {trial.trouble}",
            "its files are not collected",
            remedy.format(host=at.host, port=at.port),
        )
        return
    counts = f"{trial.found:,} files found, {trial.matching:,} match, {trial.settled:,} settled"
    left = ", ".join(f"{count} {reason}" for reason, count in (trial.left or {}).items())
    yield Finding("ok", f"{whose}: {counts}{f'; left: {left}' if left else ''}")
    if trial.newest_s > now_s + AHEAD_S:
        text = f"{whose}: its newest file is {trial.newest_s - now_s:,.0f} s in the future"
        remedy = "set the element's clock by NTP; FTP: time-zone of the element in the inventory"
        yield Finding("warning", text, "min-age and max-age leave the wrong files", remedy)
