"""Checks the settings: each section and file that they name, and settings that contradict each other."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

from services.fetcher.operate import read_preprocessing
from services.scanner.operate import ScannerSettings, check_configuration, elements_to_scan, next_run_s
from services.tracker.operate import require_honoured
from shared.configuration.kafka import Kafka, tls_context
from shared.configuration.secret_files import rights_of_others, secret_files
from shared.inventory import files_with_logins
from shared.settings import BadSettings, Settings, System, files_with_secrets
from tools.cli.dev.docs import OWN_SECTIONS
from tools.cli.doctor.findings import Finding, Installation, of_error

NOT_STARTED = "services that use it do not start; running ones keep the previous configuration"


def check_settings(installation: Installation) -> Iterator[Finding]:
    """Yields what is wrong with the configuration."""
    settings = installation.settings
    if not settings.systems:
        named = os.environ.get("PMFLOW_CONFIG", "")
        text = f"no system is configured in {named}" if named else "PMFLOW_CONFIG names no file, so defaults apply"
        remedy = "export PMFLOW_CONFIG=pmflow.yaml, with a section for each system"
        yield Finding("warning", text, "nothing is collected", remedy)
    for name, cls in OWN_SECTIONS.items():
        yield from _refusals(lambda name=name, cls=cls: settings.section(name, cls))  # type: ignore[misc]
    yield from _refusals(lambda: _check_kafka(settings.kafka))
    for system in settings.systems:
        if installation.system in {"", system.name}:
            yield from _of_system(settings, system)
    yield from contradictions(settings)


def _check_kafka(brokers: Kafka) -> None:
    properties = brokers.client()
    require_honoured(properties)
    if brokers.security_protocol.endswith("ssl"):
        tls_context(properties)


def _refusals(read: Callable[[], object]) -> Iterator[Finding]:
    try:
        read()
    except BadSettings as error:
        yield of_error(error, NOT_STARTED)


def _of_system(settings: Settings, system: System) -> Iterator[Finding]:
    try:
        own = settings.section("scanner", ScannerSettings)
        check_configuration(settings, own, [system])
        known = read_preprocessing(system).dictionary
        elements = len(elements_to_scan(system))
    except BadSettings as error:
        yield of_error(error, NOT_STARTED)
        return
    if not elements:
        remedy = f"list its elements in the file of {system.name}.inventory, or widen {system.name}.rollout"
        yield Finding("warning", f"{system.name}: no element to scan", "nothing is collected", remedy)
    counters = f", {len(known.by_group):,} counters in its dictionary" if known else ""
    yield Finding("ok", f"{system.name}: the configuration is valid; {elements:,} elements{counters}")


def contradictions(settings: Settings) -> Iterator[Finding]:
    """Yields settings that are valid by themselves and cannot be meant together."""
    if settings.metrics.port and not settings.health.file:
        remedy = "set health.file, as /healthz checks that file"
        yield Finding("error", "metrics.port is set but health.file is not", "services do not start", remedy)
    try:
        yield from _of_elements(settings)
        yield from _readable_secrets(settings)
        yield from _of_times(settings)
    except BadSettings:
        return  # shown already


def _readable_secrets(settings: Settings) -> Iterator[Finding]:
    sections = [settings.kafka, *(settings.section(name, cls) for name, cls in OWN_SECTIONS.items())]
    files = {*files_with_secrets(), *secret_files(*sections), *files_with_logins(settings.systems)}
    for file in sorted(files):
        if rights_of_others(Path(file), os.getuid()):
            text = f"others have rights to {file}, which contains secrets"
            yield Finding("warning", text, "every user of this machine may read them", f"chmod go= {file}")


def _of_elements(settings: Settings) -> Iterator[Finding]:
    shared: dict[tuple[str, int, str, str], list[str]] = defaultdict(list)
    has_sftp = False
    for system in settings.systems:
        for at in elements_to_scan(system).values():
            has_sftp = has_sftp or at.protocol == "sftp"
            shared[at.host, at.port, at.directory, system.pattern].append(f"{system.name}/{at.name}")
    known_hosts = settings.elements.known_hosts
    if has_sftp and not (known_hosts and Path(known_hosts).is_file()):
        text = f"elements.known-hosts names no file, found {known_hosts!r}"
        remedy = "ssh-keyscan -p PORT HOST >> known_hosts, compare the fingerprints, and name the file"
        yield Finding("error", text, "every login by SFTP is refused", remedy)
    for (host, port, directory, _), names in shared.items():
        if len(names) > 1:
            text = f"{', '.join(names[:3])} collect the same files: {host}:{port}{directory}"
            meaning = "each takes files away from the other"
            yield Finding("warning", text, meaning, "correct the inventories, or give the systems different patterns")


def _of_times(settings: Settings) -> Iterator[Finding]:
    own, schedule, elements = settings.section("scanner", ScannerSettings), settings.schedule, settings.elements
    first_s = next_run_s(schedule.schedule_scan, time(), schedule.time_zone)
    interval_s = next_run_s(schedule.schedule_scan, first_s, schedule.time_zone) - first_s
    if elements.idle_s < interval_s:
        text = f"elements.idle-s is {elements.idle_s:g}, and a scan comes every {interval_s:g} s"
        meaning = "each scan connects anew, which costs more than listing"
        yield Finding("warning", text, meaning, f"set elements.idle-s above {interval_s:g}")
    if elements.timeout_s >= own.listing_s:
        text = f"elements.timeout-s is {elements.timeout_s:g}, scanner.listing-s only {own.listing_s:g}"
        meaning = "an element that answers late counts as unreachable before its timeout"
        yield Finding("warning", text, meaning, "lower elements.timeout-s")
