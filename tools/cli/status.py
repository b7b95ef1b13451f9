"""`pmflow status`: files and values, per system and stage."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import get_args

from rich.console import Console
from rich.table import Table

from shared.messages import FileStatus, Stage
from shared.settings import load
from tools.cli import ledger

STAGES = get_args(Stage)


def status() -> None:
    """How many files are at which stage, and how many values they brought."""
    Console().print(table(ledger.read(load().kafka.bootstrap_servers).files.values()))


def table(files: Iterable[FileStatus]) -> Table:
    """A row a system."""
    stages: dict[str, Counter[str]] = defaultdict(Counter)
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        stages[file.system][file.stage] += 1
        for what in ("values", "nulls", "quarantined", "dropped"):
            sums[file.system][what] += getattr(file, what)
    shown = Table("system", *STAGES, "values", "missing", "quarantined", "dropped", title="files by stage, and values")
    for system in sorted(stages):
        counts = [f"{stages[system][stage]:,}" for stage in STAGES]
        shown.add_row(system, *counts, *(f"{sums[system][w]:,}" for w in ("values", "nulls", "quarantined", "dropped")))
    return shown
