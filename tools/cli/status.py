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
COUNTS = ("values", "nulls", "quarantined", "dropped")


def status() -> None:
    """How many files are at which stage, and how many values they brought."""
    Console().print(table(ledger.read(load().kafka.bootstrap_servers).files.values()))


def table(files: Iterable[FileStatus]) -> Table:
    """A row a system; stages nobody is at are left out."""
    stages: dict[str, Counter[str]] = defaultdict(Counter)
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        stages[file.system][file.stage] += 1
        for what in COUNTS:
            sums[file.system][what] += getattr(file, what)
    occupied = [stage for stage in STAGES if any(of[stage] for of in stages.values())]
    shown = Table("system", *occupied, *COUNTS, title="files by stage, and their values")
    for system in sorted(stages):
        counts = [stages[system][stage] for stage in occupied] + [sums[system][what] for what in COUNTS]
        shown.add_row(system, *(f"{count:,}" for count in counts))
    return shown
