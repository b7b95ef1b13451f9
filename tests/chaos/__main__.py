"""Runs pmflow under faults and compares everything with the truth: `make chaos`, or `python -m tests.chaos`."""

import json
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from threading import Event
from typing import Annotated

import typer

from tests.chaos.load import Load, load_elements, written_files
from tests.chaos.nemesis import Nemesis, Supervisor
from tests.chaos.plan import planned, usual_kinds
from tests.chaos.report import Report, page, report_of
from tests.chaos.verdict import judge
from tests.chaos.world import SERVERS, SYSTEMS, World, running_world

ELEMENTS_PER_SYSTEM = 10
FIRST_FILES_S = 5.0
"""Time between the start of the load and the first fault."""


def run(home: Path, seed: int, seconds: float, gap_s: float, cycle_s: float) -> Report:
    """Runs the load and the faults of a seed in an empty folder; returns the verdict."""
    load = Load(load_elements(home / "simulator", dict.fromkeys(SYSTEMS, ELEMENTS_PER_SYSTEM), seed), cycle_s)
    with running_world(home, home / "simulator") as (world, settings):
        nemesis = Nemesis(world)
        plan = planned(seed, seconds, gap_s, usual_kinds(world.services, SERVERS, world.proxy.names))
        load.start()
        Event().wait(FIRST_FILES_S)
        with Supervisor(world) as supervisor:
            nemesis.run(plan)
            problems = unhealed(world)
            if not load.finish(within_s=120.0):
                problems.append(f"corrections are still due: {sorted(map(str, load.elements.pending))[:5]}")
            problems += [load.failure] if load.failure else []
            found = judge(settings, home / "simulator", written_files(home / "simulator"), within_s=120.0)
        found.problems[:0] = problems
        return report_of(seed, seconds, nemesis.carried_out, supervisor.exits, found)


def unhealed(world: World, within_s: float = 60.0) -> list[str]:
    """Waits until every server answers; returns a text for each that does not."""
    found, tick = [], Event()
    left_s = within_s
    for name in SERVERS:
        while not world.answers(name) and left_s > 0:
            tick.wait(0.5)
            left_s -= 0.5
        if not world.answers(name):
            found.append(f"{name} does not answer after the last fault")
    return found


def main(  # noqa: PLR0917 - each is an option
    seconds: Annotated[float, typer.Option(help="duration of the faults")] = 120.0,
    seed: Annotated[int, typer.Option(help="seed of the faults and of the values")] = 1,
    gap_s: Annotated[float, typer.Option(help="mean time between two faults")] = 2.0,
    cycle_s: Annotated[float, typer.Option(help="time between two files of an element")] = 4.0,
    home: Annotated[Path | None, typer.Option(help="folder of data and logs, which stay; by default a new one")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Run two instances of every service under faults; exit with 1 unless every value and every figure is right."""
    folder = (home or Path(mkdtemp(prefix="pmflow-chaos-"))).resolve()
    report = run(folder, seed, seconds, gap_s, cycle_s)
    typer.echo(json.dumps(report.as_json(), indent=1) if as_json else page(report))
    if report.is_right and home is None:
        shutil.rmtree(folder)
    else:
        typer.echo(f"data and logs: {os.path.relpath(folder)}", err=True)
    raise typer.Exit(0 if report.is_right else 1)


if __name__ == "__main__":
    typer.run(main)
