"""Runs the load and the faults of one seed, heals everything, and judges what is there."""

import json
from pathlib import Path
from threading import Event

from tests.chaos.load import Load, load_elements
from tests.chaos.nemesis import Nemesis, Supervisor
from tests.chaos.plan import planned, usual_kinds
from tests.chaos.report import Report, report_of
from tests.chaos.verdict import judge
from tests.chaos.world import SERVERS, SYSTEMS, World, running_world

ELEMENTS_PER_SYSTEM = 10
FIRST_FILES_S = 5.0
"""Time between the start of the load and the first fault."""


def run(home: Path, seed: int, seconds: float, gap_s: float, cycle_s: float) -> Report:
    """Runs the load and the faults of a seed in an empty folder; returns the verdict."""
    load = Load(load_elements(home / "simulator", dict.fromkeys(SYSTEMS, ELEMENTS_PER_SYSTEM), seed), cycle_s)
    with running_world(home, load) as (world, settings):
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
            found = judge(settings, home / "simulator", world.vanished, within_s=120.0)
        found.problems[:0] = problems
        report = report_of(seed, seconds, nemesis.carried_out, supervisor.exits, found)
        (home / "report.json").write_text(json.dumps(report.as_json(), indent=1))
        return report


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
