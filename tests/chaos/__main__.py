"""Runs pmflow under faults and compares everything with the truth: `make chaos`, or `python -m tests.chaos`."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from tests.chaos.report import page
from tests.chaos.run import run


def main(  # noqa: PLR0917 - each is an option
    seconds: Annotated[float, typer.Option(help="duration of the faults")] = 120.0,
    seed: Annotated[int, typer.Option(help="seed of the faults and of the values")] = 1,
    gap_s: Annotated[float, typer.Option(help="mean time between two faults")] = 2.0,
    cycle_s: Annotated[float, typer.Option(help="time between two files of an element")] = 4.0,
    home: Annotated[Path | None, typer.Option(help="folder of data and logs, which stay; by default a new one")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Run two instances of every service under faults; exit with 1 unless every value and every figure is right."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # stops what was started
    folder = (home or Path(mkdtemp(prefix="pmflow-chaos-"))).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise typer.BadParameter(f"{folder} is not empty: choose a new folder", param_hint="--home")
    report = run(folder, seed, seconds, gap_s, cycle_s)
    typer.echo(json.dumps(report.as_json(), indent=1) if as_json else page(report))
    if report.is_right and home is None:
        shutil.rmtree(folder)
    else:
        typer.echo(f"data and logs: {os.path.relpath(folder)}", err=True)
    raise typer.Exit(0 if report.is_right else 1)


if __name__ == "__main__":
    typer.run(main)
