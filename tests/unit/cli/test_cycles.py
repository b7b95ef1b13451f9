"""`pmflow cycles` shows the figures of the cycles."""

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from shared.cycle_figures import CycleFigures
from tools.cli.operate.cycles import cycle_table, cycles_table, newest_cycles

GOOD = CycleFigures(
    system="4ga", end_s=1764082800, told_s=1764083700.0, expected=2000, missing=[], elements=2000, found=2000, late=0,
    fetched=2000, parsed=2000, stored={"mysql": 2000, "clickhouse": 2000}, done=2000, error=0, lost=0, postponed=0,
    quarantined=0, bytes=10**9, batches=20_000, rows=10**6, suspect=0, values=50_000_000,
    values_stored={"mysql": 50_000_000, "clickhouse": 50_000_000}, values_set_aside={"mysql": 0, "clickhouse": 0},
    values_quarantined=0, values_dropped=0, retries=3, latency_s={"stored": [40.0, 95.5, 120.0]}, took_s=100.0,
)  # fmt: skip
BAD = replace(
    GOOD, system="5ga", missing=["gnb-1"], error=1, values_stored={"mysql": 49_999_999}, values_set_aside={"mysql": 1}
)


def printed(shown: Table, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def test_the_table_of_a_large_network_truncates_nothing() -> None:
    shown = printed(cycles_table([GOOD, BAD]), 96)
    assert "…" not in shown
    good, bad = (" ".join(line.split()) for line in shown.splitlines() if "ga" in line)
    assert good == "4ga 11-25 15:00 2,000/2,000 2,000 0 0 0 50,000,000 100 % 100 % 96 s"
    assert bad == "5ga 11-25 15:00 1,999/2,000 2,000 0 1 0 50,000,000 99.9 % 96 s"


def test_the_table_of_a_small_network_fits_80_columns() -> None:
    small = replace(GOOD, expected=20, found=20, values=13_467, values_stored={"mysql": 13_467, "clickhouse": 13_467})
    assert "…" not in printed(cycles_table([small]), 80)


def test_the_share_of_stored_values_is_rounded_down() -> None:
    assert "99.9 %" in printed(cycles_table([BAD]), 120)


def test_one_cycle_is_shown_with_every_figure() -> None:
    shown = printed(cycle_table(BAD), 100)
    for said in (
        "missing",
        "gnb-1",
        "values_stored mysql",
        "49,999,999",
        "latency_s stored",
        "40.0, 95.5, 120.0",
        "error_share",
    ):
        assert said in shown


def test_the_newest_of_each_system_are_chosen() -> None:
    cycles = [replace(GOOD, end_s=n * 900) for n in range(5)] + [replace(BAD, end_s=900)]
    assert [(c.system, c.end_s) for c in newest_cycles(cycles, "", 2)] == [("4ga", 2700), ("4ga", 3600), ("5ga", 900)]
    assert [c.end_s for c in newest_cycles(cycles, "5ga", 2)] == [900]
