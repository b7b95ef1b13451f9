"""`pmflow status`: scanners, files and values by system and stage."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import get_args

import typer

from services.scanner.operate import SystemState, reported_states, zookeeper_of
from shared.errors import Unreachable
from shared.messages import FileStatus, Stage
from tools.cli.operate import ledger
from tools.cli.operate.ready import load_ready
from tools.cli.output import OutputTable, say, show

UNMOVED = "unmoved"
ZOOKEEPER_S = 5.0
"""Longest wait for ZooKeeper; the files are shown without it."""
ALL_STAGES = (*get_args(Stage), UNMOVED)
"""The stages, and files that could not be moved at the last attempt, whatever their stage."""
SUMMED_COUNTS = ("values", "nulls", "quarantined", "dropped")


def show_status() -> None:
    """Show which scanner scans each system, how many files are in each stage, and how many values they contain."""
    settings = load_ready()
    silent = ""
    try:
        show(systems_table(reported_states(zookeeper_of(settings), ZOOKEEPER_S)))
    except Unreachable as error:
        silent = f"systems are not shown: {error}; check the section zookeeper, or run pmflow doctor"
    show(files_table(ledger.read_ledger(settings.kafka).files.values()))
    if silent:
        say(silent, err=True)
        raise typer.Exit(1)


def systems_table(states: Iterable[SystemState]) -> OutputTable:
    """Returns a table with one row per scanner and system: state and last scan."""
    shown = OutputTable(
        "system", "scanner", "state", "since", "last scan", "elements", "unreachable", "announced", "held back",
        "reason", title="systems",
    )  # fmt: skip
    for state in states:
        scan = state.scan
        counts = (scan.elements, scan.unreachable, scan.announced, scan.held_back) if scan else ("",) * 4
        since, scanned = _clock(state.since_s), _clock(state.scanned_s)
        shown.add_row(state.system, state.scanner, state.state, since, scanned, *map(str, counts), _why(state))
    return shown


def _why(state: SystemState) -> str:
    """Returns why a system or some of its elements were not scanned, and why files were left."""
    if state.reason or state.scan is None:
        return state.reason
    left = [f"{files} {reason}" for reason, files in state.scan.left.items()]
    return "; ".join([", ".join(left), *(f"{name}: {why}" for name, why in state.scan.troubles.items())])


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at_s else ""


def files_table(files: Iterable[FileStatus]) -> OutputTable:
    """Returns a table with one row per system; stages without any file are left out."""
    stages: dict[str, Counter[str]] = defaultdict(Counter)
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        stages[file.system][UNMOVED if file.moves_refused else file.stage] += 1
        for what in SUMMED_COUNTS:
            sums[file.system][what] += getattr(file, what)
    occupied = [stage for stage in ALL_STAGES if any(counts[stage] for counts in stages.values())]
    shown = OutputTable("system", *occupied, *SUMMED_COUNTS, title="files by stage, and their values")
    for system in sorted(stages):
        counts = [stages[system][stage] for stage in occupied] + [sums[system][what] for what in SUMMED_COUNTS]
        shown.add_row(system, *(f"{count:,}" for count in counts))
    return shown
