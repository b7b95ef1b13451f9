"""`pmflow verify`: compares the simulator's truth with the databases, value by value."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any

import typer

from services.ch_bridge.operate import clickhouse_of
from services.mysql_writer.operate import mysql_of
from shared.settings import BadSettings, Settings, load
from tools.cli.operate.stored import RowKey, StoredRow, canonical, in_clickhouse, in_mysql
from tools.cli.output import OutputTable, say, show
from tools.simulator.truth import TruthRow, expected_rows

COMPARE_INTERVAL_S = 1.0


@dataclass
class Outcome:
    """The result of comparing one system in one sink; all counts are of values."""

    sink: str
    system: str
    expected: int = 0
    stored: int = 0
    missing: int = 0
    doubled: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return self.missing == self.doubled == self.different == 0

    def note(self, what: str) -> None:
        if len(self.examples) < 5:
            self.examples.append(what)


Truth = Mapping[RowKey, tuple[bool, Mapping[str, Any]]]


def truth_of(rows: Iterable[TruthRow]) -> dict[RowKey, tuple[bool, dict[str, Any]]]:
    """Returns the expected values by row; rows that several files contain are merged."""
    truth: dict[RowKey, tuple[bool, dict[str, Any]]] = {}
    for row in rows:
        key = (row.system, row.group, row.element, row.object, row.end_s, row.gp_s)
        _, values = truth.get(key, (False, {}))
        given = {counter: canonical(value) for counter, value in row.values.items() if value is not None}
        truth[key] = row.suspect, {**values, **given}
    return truth


def compare(sink: str, system: str, truth: Truth, rows: Iterable[StoredRow]) -> Outcome:
    """Compares the stored rows with the truth: each expected value must be stored once, and nothing else."""
    outcome = Outcome(sink, system, expected=sum(len(values) for key, (_, values) in truth.items() if key[0] == system))
    seen: set[RowKey] = set()
    for row in rows:
        if row.key[0] != system:
            continue
        outcome.stored += len(row.values)
        if row.key in seen:
            outcome.doubled += len(row.values)
            outcome.note(f"twice: {row.key}")
            continue
        seen.add(row.key)
        _compare_row(outcome, truth.get(row.key), row)
    for key, (_, values) in truth.items():
        if key[0] == system and key not in seen:
            outcome.missing += len(values)
            outcome.note(f"missing: {key}")
    return outcome


def _compare_row(outcome: Outcome, wanted: tuple[bool, Mapping[str, Any]] | None, row: StoredRow) -> None:
    if wanted is None:
        outcome.different += len(row.values)
        outcome.note(f"unexpected: {row.key}")
        return
    suspect, values = wanted
    for counter in values.keys() | row.values.keys():
        if counter not in row.values:
            outcome.missing += 1
            outcome.note(f"missing: {row.key} {counter}")
        elif counter not in values or canonical(row.values[counter]) != values[counter]:
            outcome.different += 1
            outcome.note(f"different: {row.key} {counter}: {row.values[counter]!r}, not {values.get(counter)!r}")
    if suspect != row.suspect:
        outcome.different += 1
        outcome.note(f"different: {row.key} suspect: {row.suspect}, not {suspect}")


def compare_all(settings: Settings, directory: Path) -> Iterator[Outcome]:
    """Compares every system in each of its sinks."""
    truth = truth_of(expected_rows(directory))
    mysql_rows = list(in_mysql(mysql_of(settings)))
    for system in settings.systems:
        yield compare("mysql", system.name, truth, mysql_rows)
        if system.is_using_clickhouse:
            groups = {key[1] for key in truth if key[0] == system.name}
            yield compare("clickhouse", system.name, truth, in_clickhouse(clickhouse_of(settings), system.name, groups))


def settled_outcomes(settings: Settings, directory: Path, within_s: float) -> list[Outcome]:
    """Repeats the comparison until nothing is missing or the time is over; returns the last outcomes."""
    until_s = monotonic() + within_s
    while True:
        found = list(compare_all(settings, directory))
        if monotonic() >= until_s or not any(outcome.missing for outcome in found):
            return found
        sleep(COMPARE_INTERVAL_S)


def outcomes_table(found: Iterable[Outcome]) -> OutputTable:
    """Returns a table with one row per sink and system."""
    shown = OutputTable("sink", "system", "expected", "stored", "missing", "doubled", "different", title="values")
    for o in found:
        shown.add_row(o.sink, o.system, *(f"{n:,}" for n in (o.expected, o.stored, o.missing, o.doubled, o.different)))
    return shown


def verify_values(
    directory: Annotated[Path, typer.Option("--dir", help="folder of the simulator, which holds the truth")] = Path(
        ".pmflow/simulator"
    ),
    within_s: Annotated[float, typer.Option(help="seconds to wait for values that are still missing")] = 0.0,
) -> None:
    """Compare MySQL and ClickHouse with the simulator's truth.

    Exits with 1 unless every value is stored once and correctly.
    """
    if not directory.is_dir():
        raise BadSettings(f"{directory}: no such folder; name the simulator's folder by --dir")
    found = settled_outcomes(load(), directory, within_s)
    show(outcomes_table(found))
    for outcome in found:
        for example in outcome.examples:
            say(f"{outcome.sink} {example}")
    raise typer.Exit(0 if found and all(outcome.right for outcome in found) else 1)
