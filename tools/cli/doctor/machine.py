"""Checks the limits of this machine or container against the settings: open files, memory, cores, and disk."""

import resource
import shutil
import tempfile
from collections.abc import Iterator, Mapping

from services.fetcher.operate import FetcherSettings, content_of, cores, memory_limit_mb
from services.scanner.operate import ScannerSettings
from shared.inventory import endpoints
from shared.settings import BadSettings, Settings
from tools.cli.doctor.findings import Finding, Installation
from tools.cli.doctor.mysql import space_finding

OWN_FILES = 256
"""Files of a process besides its connections with elements: to Kafka, to databases, logs, libraries."""
SLOW_LISTINGS = 5
"""A system may list so many times `scanner.listings` elements at once, slow and silent ones included."""


def check_machine(installation: Installation) -> Iterator[Finding]:
    """Yields which limits of this machine are too low for the services that would run here."""
    settings = installation.settings
    fetcher = settings.section("fetcher", FetcherSettings)
    yield files_finding(resource.getrlimit(resource.RLIMIT_NOFILE)[0], files_needed(settings))
    yield from parser_findings(fetcher, cores(), memory_limit_mb(content_of))
    folder = fetcher.spool_directory or tempfile.gettempdir()
    try:
        usage = shutil.disk_usage(folder)
    except OSError as failure:
        remedy = "create the folder, or correct fetcher.spool-directory"
        yield Finding("error", f"{folder}: {failure.strerror}", "large files cannot be processed", remedy)
    else:
        yield space_finding(f"folder for large files, {folder}", usage.total, usage.free)


def files_needed(settings: Settings) -> dict[str, int]:
    """Returns the number of open files that a scanner and a fetcher may need."""
    listings = settings.section("scanner", ScannerSettings).listings
    hosts: set[tuple[str, int]] = set()
    listed = 0
    for system in settings.systems:
        try:
            found = endpoints(system).values()
        except BadSettings:
            continue  # the area `settings` shows it
        hosts |= {(at.host, at.port) for at in found}
        listed += min(len(found), SLOW_LISTINGS * listings)
    idle = min(settings.elements.idle_connections, len(hosts))
    downloads = sum(system.consumer_threads for system in settings.systems)
    return {"scanner": OWN_FILES + listed + idle, "fetcher": OWN_FILES + downloads + 2 * idle}


def files_finding(limit: int, needed: Mapping[str, int]) -> Finding:
    """Returns whether a process may open enough files."""
    most = max(needed.values())
    shown = ", ".join(f"{service} {count:,}" for service, count in needed.items())
    if limit not in {resource.RLIM_INFINITY, -1} and limit < most:
        text = f"a process may open {limit:,} files; needed: {shown}"
        meaning = "elements count as unreachable when the files are used up"
        remedy = f"ulimit -n {most}; systemd: LimitNOFILE; or lower elements.idle-connections and scanner.listings"
        return Finding("error", text, meaning, remedy)
    many = "any number of" if limit in {resource.RLIM_INFINITY, -1} else f"{limit:,}"
    return Finding("ok", f"a process may open {many} files; needed: {shown}")


def parser_findings(fetcher: FetcherSettings, quota: int, limit_mb: int | None) -> Iterator[Finding]:
    """Yields whether the cores and the memory suffice for a fetcher.

    Args:
        fetcher: the section `fetcher`.
        quota: the whole cores of the CPU quota.
        limit_mb: the memory limit; None if there is none.
    """
    parsers = fetcher.parsers or quota
    if parsers > quota:
        text = f"fetcher.parsers is {parsers}, and the CPU quota is {quota} cores"
        meaning = "parsers wait for each other, and take memory while they wait"
        yield Finding("warning", text, meaning, "set fetcher.parsers to 0 (one per core), or raise the quota")
    else:
        yield Finding("ok", f"{parsers} parser processes on {quota} cores")
    needed_mb = fetcher.memory_mb(parsers)
    if limit_mb is not None and limit_mb < needed_mb:
        text = f"memory is limited to {limit_mb:,} MiB; a fetcher may need {needed_mb:,} MiB"
        remedy = f"raise the limit to {needed_mb} MiB, or lower fetcher.parsers or fetcher.parser-memory-mb"
        yield Finding("warning", text, "the fetcher is killed, and its files are fetched again", remedy)
    else:
        most = "no limit of memory" if limit_mb is None else f"memory is limited to {limit_mb:,} MiB"
        yield Finding("ok", f"{most}; a fetcher may need {needed_mb:,} MiB")
