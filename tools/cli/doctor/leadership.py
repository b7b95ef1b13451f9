"""Checks ZooKeeper, and which scanner leads each system."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from time import time

from services.scanner.operate import SystemState, next_run_s, reported_states, zookeeper_of
from shared.errors import Unreachable
from shared.settings import Schedule
from tools.cli.doctor.findings import Finding, Installation

ZOOKEEPER_ANSWER_S = 8.0
MISSED_SCANS = 3
"""Intervals of the schedule without a scan after which something is wrong."""


def check_leadership(installation: Installation) -> Iterator[Finding]:
    """Yields whether ZooKeeper answers, and who leads each system."""
    settings = installation.settings
    zookeeper = zookeeper_of(settings)
    try:
        states = reported_states(zookeeper, ZOOKEEPER_ANSWER_S)
    except Unreachable as failure:
        meaning = "no scanner can lead a system, so nothing is collected"
        remedy = "check zookeeper.connection-string, and that the servers run and admit this login"
        yield Finding("error", str(failure), meaning, remedy)
        return
    yield Finding("ok", f"ZooKeeper {zookeeper.connection_string} answers")
    by_system: dict[str, list[SystemState]] = defaultdict(list)
    for state in states:
        by_system[state.system].append(state)
    for state in by_system.get("configuration", ()):
        text = f"scanner {state.scanner} refused a changed configuration: {state.reason}"
        yield Finding("error", text, "it goes on with the previous one", "correct the file; it is read again by itself")
    for system in settings.systems:
        if installation.system in {"", system.name}:
            yield from findings_of_system(system.name, by_system[system.name], settings.schedule, time())


def findings_of_system(
    system: str, states: Sequence[SystemState], schedule: Schedule, now_s: float
) -> Iterator[Finding]:
    """Yields what the scanners report about one system."""
    leading = [state for state in states if state.state == "leading"]
    for state in states:
        if state.state == "failed":
            remedy = "read the scanner's log (event `system failed, restarting`)"
            yield Finding("error", f"{system}: failed in scanner {state.scanner}: {state.reason}", "", remedy)
    if not leading:
        many = f"{len(states)} scanners stand by or failed" if states else "no scanner runs"
        yield Finding("warning", f"{system}: nobody leads, {many}", "it is not scanned", "start it: pmflow run scanner")
    if len(leading) > 1:
        names = ", ".join(state.scanner for state in leading)
        yield Finding("warning", f"{system}: {names} lead", "one has not noticed the end of its term yet", "run again")
    for state in leading:
        yield _last_scan(system, state, schedule, now_s)


def _last_scan(system: str, state: SystemState, schedule: Schedule, now_s: float) -> Finding:
    if state.reason:
        return Finding("error", f"{system}: not scanned by {state.scanner}: {state.reason}", "nothing is collected")
    first_s = next_run_s(schedule.schedule_scan, state.scanned_s or state.since_s, schedule.time_zone)
    interval_s = next_run_s(schedule.schedule_scan, first_s, schedule.time_zone) - first_s
    late_s = now_s - first_s - MISSED_SCANS * interval_s - schedule.immediate_run_delay_s
    if late_s > 0:
        text = f"{system}: {state.scanner} leads, and its last scan is {late_s:,.0f} s overdue"
        remedy = "read the scanner's log; raise scanner.listings, or lower scanner.listing-s and elements.timeout-s"
        return Finding("warning", text, "files wait on the elements", remedy)
    scan = state.scan
    silent = f", {scan.unreachable} of {scan.elements} elements did not answer" if scan and scan.unreachable else ""
    return Finding(
        "warning" if silent else "ok",
        f"{system}: {state.scanner} leads{silent}",
        "their files wait on them" if silent else "",
        "pmflow status shows which and why" if silent else "",
    )
