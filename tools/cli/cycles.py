"""`pmflow cycles`: the figures of each system and period, as the tracker published them; older ones from MySQL."""

import calendar
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import pymysql
import typer
from pymysql.cursors import DictCursor
from rich.console import Console
from rich.table import Table

from services.mysql_writer.connection import connect
from shared.cycles import figures_of
from shared.messages import CycleFigures
from shared.settings import Mysql, load
from shared.topics import CYCLES
from tools.cli import ledger


def cycles(
    system: Annotated[str, typer.Option(help="this one only")] = "",
    last: Annotated[int, typer.Option(help="so many of the newest periods of each system")] = 12,
) -> None:
    """Show what became of the files of each closed cycle; missing elements by name. What Kafka forgot MySQL knows."""
    settings = load()
    kept: list[CycleFigures] = []
    try:
        kept = history(settings.mysql)
    except pymysql.Error as error:
        typer.echo(f"older ones are not shown, MySQL does not answer: {error}", err=True)
    Console().print(table(newest(latest([*kept, *read(settings.kafka.bootstrap_servers)]), system, last)))


def read(brokers: str) -> list[CycleFigures]:
    """As the tracker published them, in the order of systems and time."""
    return latest(CycleFigures.decode(m.value() or b"") for m in ledger.messages(brokers, CYCLES))


def latest(figures: Iterable[CycleFigures]) -> list[CycleFigures]:
    """The newest figures of each cycle, in the order of systems and time."""
    return [f for _, f in sorted({(f.system, f.end_s): f for f in sorted(figures, key=lambda f: f.told_s)}.items())]


def history(settings: Mysql) -> list[CycleFigures]:
    """All that MySQL keeps; nothing where no writer has been yet."""
    with connect(settings, settings.database) as connection, connection.cursor(DictCursor) as cursor:
        cursor.execute("SHOW TABLES LIKE 'pm_cycle'")
        if not cursor.fetchall():
            return []
        cursor.execute("SELECT * FROM pm_cycle")
        return [figures_of(row["system"], calendar.timegm(row["ts"].timetuple()), row) for row in cursor.fetchall()]


def newest(figures: Iterable[CycleFigures], system: str, last: int) -> Iterator[CycleFigures]:
    """Of one system or of all, so many of each."""
    by_system: dict[str, list[CycleFigures]] = {}
    for cycle in figures:
        by_system.setdefault(cycle.system, []).append(cycle)
    for name, of_system in by_system.items():
        if system in {"", name}:
            yield from of_system[-last:]


def table(figures: Iterable[CycleFigures]) -> Table:
    """A row a cycle."""
    counts = (
        "expected",
        "elements",
        "found",
        "late",
        "fetched",
        "parsed",
        "done",
        "error",
        "lost",
        "quarantined",
        "values",
    )
    more = ("retries a file", "suspect", "values stored", "set aside", "values/s", "p95 to stored", "missing")
    shown = Table("system", "period ends", *counts, *more, title="cycles")
    for cycle in figures:
        aside = sum(cycle.values_set_aside.values()) + cycle.values_quarantined
        p95 = cycle.latency_s.get("stored", [])[1:2]
        shown.add_row(
            cycle.system,
            f"{datetime.fromtimestamp(cycle.end_s, UTC):%Y-%m-%d %H:%M}",
            *(f"{getattr(cycle, name):,}" for name in counts),
            f"{cycle.rates['retries_per_file']:.2f}",
            f"{cycle.rates['suspect_share']:.1%}",
            ", ".join(f"{sink} {many:,}" for sink, many in cycle.values_stored.items()),
            f"{aside:,}",
            f"{cycle.rates['values_per_s']:,.0f}",
            f"{p95[0]:,.0f} s" if p95 else "",
            ", ".join(cycle.missing[:5]) + (f" and {len(cycle.missing) - 5} more" if len(cycle.missing) > 5 else ""),
        )
    return shown
