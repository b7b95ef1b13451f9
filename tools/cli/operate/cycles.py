"""`pmflow cycles`: the figures of each system and period from the tracker's topic, and older ones from MySQL."""

import calendar
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import pymysql
import typer
from pymysql.cursors import DictCursor

from services.mysql_writer.operate import Mysql, connect, mysql_of
from shared.configuration.kafka import Kafka
from shared.cycle_figures import CycleFigures, readable
from shared.sinks.cycles import figures_of
from shared.topics import CYCLES
from tools.cli.operate import ledger
from tools.cli.operate.ready import load_ready
from tools.cli.output import OutputTable, say, show

MOST_STORED_CYCLES = 10_000
"""Limit of the cycles that are read from MySQL at once."""


def show_cycles(
    system: Annotated[str, typer.Option(help="show only this system")] = "",
    last: Annotated[int, typer.Option(help="number of the newest periods to show per system")] = 12,
    period: Annotated[
        datetime | None, typer.Option(help="show every figure of the period that ended at this time, UTC")
    ] = None,
) -> None:
    """Show the figures of each closed cycle and the names of missing elements.

    Cycles that the Kafka topic no longer holds are read from MySQL.
    """
    settings = load_ready(CYCLES)
    kept: list[CycleFigures] = []
    try:
        kept = stored_cycles(mysql_of(settings), period)
    except (pymysql.Error, OSError) as error:
        say(f"older cycles are not shown because MySQL does not answer: {error}", err=True)
    known = latest_figures([*kept, *read_cycles(settings.kafka)])
    if not known:
        say("no cycle is closed yet: a cycle closes `tracker: {lateness_s}` seconds after its end")
        return
    if period:
        end_s = period.replace(tzinfo=UTC).timestamp()
        for figures in known:
            if figures.end_s == end_s and system in {"", figures.system}:
                show(cycle_table(figures))
        return
    shown = list(newest_cycles(known, system, last))
    show(cycles_table(shown))
    for figures in shown:
        if figures.missing:
            say(f"{figures.system} {_ended(figures)} is missing {', '.join(figures.missing)}")


def read_cycles(brokers: Kafka) -> list[CycleFigures]:
    """Returns the figures that the tracker published, sorted by system and time."""
    return latest_figures(readable(record.value for record in ledger.topic_records(brokers, CYCLES)))


def latest_figures(figures: Iterable[CycleFigures]) -> list[CycleFigures]:
    """Returns the newest figures of each cycle, sorted by system and time."""
    return [f for _, f in sorted({(f.system, f.end_s): f for f in sorted(figures, key=lambda f: f.told_s)}.items())]


def stored_cycles(settings: Mysql, period: datetime | None = None) -> list[CycleFigures]:
    """Returns the figures in MySQL, of one period or the newest ones; none if no writer has created the table yet."""
    with connect(settings, settings.database) as connection, connection.cursor(DictCursor) as cursor:
        cursor.execute("SHOW TABLES LIKE 'pm_cycle'")
        if not cursor.fetchall():
            return []
        cursor.execute(
            "SELECT * FROM pm_cycle WHERE ts = COALESCE(%s, ts) ORDER BY ts DESC, `system` LIMIT %s",
            (period, MOST_STORED_CYCLES),
        )
        return [figures_of(row["system"], calendar.timegm(row["ts"].timetuple()), row) for row in cursor.fetchall()]


def newest_cycles(figures: Iterable[CycleFigures], system: str, last: int) -> Iterator[CycleFigures]:
    """Yields the figures of the newest `last` cycles of one system, or of each system if none is named."""
    by_system: dict[str, list[CycleFigures]] = {}
    for cycle in figures:
        by_system.setdefault(cycle.system, []).append(cycle)
    for name, of_system in by_system.items():
        if system in {"", name}:
            yield from of_system[-last:]


def cycles_table(figures: Sequence[CycleFigures]) -> OutputTable:
    """Returns a table with one row per cycle and the figures that tell a good cycle from a bad one."""
    sinks = sorted({sink for cycle in figures for sink in cycle.values_stored})
    counts = ("files", "late", "error", "lost", "values")
    shown = OutputTable(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for name in ("system", "period ends", "elements", *counts, *sinks, "p95"):
        shown.add_column(name, no_wrap=True, justify="left" if name in {"system", "period ends"} else "right")
    for cycle in figures:
        p95_s = cycle.latency_s.get("stored", [])[1:2]
        shown.add_row(
            cycle.system,
            f"{datetime.fromtimestamp(cycle.end_s, UTC):%m-%d %H:%M}",
            f"{cycle.expected - len(cycle.missing):,}/{cycle.expected:,}",
            *(f"{n:,}" for n in (cycle.found, cycle.late, cycle.error, cycle.lost, cycle.values)),
            *(_share_stored(cycle, sink) for sink in sinks),
            f"{p95_s[0]:,.0f} s" if p95_s else "",
        )
    return shown


def cycle_table(cycle: CycleFigures) -> OutputTable:
    """Returns a table with every figure of one cycle; figures per sink or stage have one row each."""
    shown = OutputTable("figure", "value", title=f"{cycle.system}, period that ended {_ended(cycle)} UTC", min_width=50)
    for name, figure in (asdict(cycle) | cycle.rates).items():
        if name in {"system", "end_s"}:
            continue
        parts = figure.items() if isinstance(figure, dict) else [("", figure)]
        for part, value in parts:
            shown.add_row(f"{name} {part}".strip(), _text(name, value))
    return shown


def _text(name: str, value: Any) -> str:
    if name == "told_s":
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}"


def _ended(cycle: CycleFigures) -> str:
    return f"{datetime.fromtimestamp(cycle.end_s, UTC):%Y-%m-%d %H:%M}"


def _share_stored(cycle: CycleFigures, sink: str) -> str:
    """Returns the share of values that a sink stored, rounded down, so that 100 % means every value."""
    stored = cycle.values_stored.get(sink)
    return "" if stored is None or not cycle.values else f"{stored * 1000 // cycle.values / 10:g} %"
