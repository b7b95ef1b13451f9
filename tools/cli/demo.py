"""`pmflow demo`: the main job on this machine, from nothing to the verified table."""

import json
import os
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from shared import topics
from shared.kafka import admin
from shared.settings import Settings
from tools.cli import ledger, status, verify
from tools.cli.cycles import read as closed_cycles
from tools.cli.cycles import table as cycles_table
from tools.cli.pipeline import ROOT, Pipeline
from tools.cli.run import HOME
from tools.devstack import stack as devstack
from tools.devstack.processes import Process

SAMPLES = ROOT / "tests" / "data" / "samples"
DEMO_SCHEDULE = {
    "spring": {"pm": {"cron": {"schedule-scan": "*/5 * * * * *"}, "immediate-run-delay": 1}},
    "tracker": {"lateness_s": 1},
}
"""A scan each five seconds instead of five minutes, and cycles that close at once; all else is the user's YAML."""


def with_dictionaries(simulator: Path) -> dict[str, Any]:
    """What the simulated elements' vendor says of their counters."""
    return {name: {"counter-dictionary": str(simulator / "dictionary" / f"{name}.yaml")} for name in ("4ga", "5ga")}


def demo(
    elements: Annotated[int, typer.Option(help="of each of the two systems")] = 20,
    cycles: Annotated[int, typer.Option(help="reporting periods the elements write")] = 3,
    cycle_s: Annotated[float, typer.Option(help="real seconds between two of them")] = 20.0,
    patience_s: Annotated[float, typer.Option(help="give up after")] = 600.0,
    home: Annotated[Path, typer.Option(help="where all of it goes")] = HOME,
) -> None:
    """Start the dev stack, simulated elements and all services; show the way of the files; verify every value."""
    console = Console()
    home = home.resolve()
    console.print("starting Kafka, ZooKeeper, MySQL and the ClickHouse engine (the first time downloads them)")
    stack = devstack.up(home)
    pipeline = Pipeline(home, stack, overrides=DEMO_SCHEDULE | with_dictionaries(stack.simulator))
    simulator = pipeline.simulate(
        "--systems", f"4ga:{elements},5ga:{elements}", "--cycles", str(cycles), "--cycle-s", str(cycle_s),
        "--plant", str(SAMPLES),
    )  # fmt: skip
    settings = pipeline.configure()
    wait_for_inventory(pipeline, simulator)
    admin.provision(settings.kafka.bootstrap_servers, topics.provisioned(s.name for s in settings.systems))
    pipeline.start()
    through = watch(console, pipeline, settings, cycles, patience_s)
    found = verify.settled_outcomes(settings, pipeline.simulator, within_s=60)
    console.print()
    console.print(samples_table(settings))
    console.print(verify.table(found))
    console.print(cycles_table(closed_cycles(settings.kafka.bootstrap_servers)))
    console.print("[dim]late: the simulated periods had ended before the demo began[/dim]")
    console.print(where_to_look(pipeline), soft_wrap=True, highlight=False)
    raise typer.Exit(0 if through and all(outcome.right for outcome in found) else 1)


def wait_for_inventory(pipeline: Pipeline, simulator: Process, within_s: float = 60.0) -> None:
    """The simulator writes it once its elements can be reached."""
    until_s = monotonic() + within_s
    while not (pipeline.simulator / "inventory" / "5ga.yaml").exists():
        if not simulator.alive() or monotonic() > until_s:
            raise RuntimeError(f"the simulator did not start; see {simulator.log_path}")
        sleep(0.1)


def written(pipeline: Pipeline) -> dict[str, int]:
    """What the simulator has written so far: cycles, files, values."""
    file = pipeline.simulator / "written.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def watch(console: Console, pipeline: Pipeline, settings: Settings, cycles: int, patience_s: float) -> bool:
    """Show the files on their way until the last one is through; False when the patience ends before."""
    until_s = monotonic() + patience_s
    with Live(console=console, refresh_per_second=2) as live:
        while monotonic() < until_s:
            so_far = written(pipeline)
            files = ledger.read(settings.kafka.bootstrap_servers).files.values()
            stages = Counter(file.stage for file in files)
            through = stages["done"] + stages["error"]
            cycle, files_written = so_far.get("cycles", 0), so_far.get("files", 0)
            says = f"cycle {cycle} of {cycles}: {files_written} files written, {through} through"
            live.update(Group(status.table(files), says))
            if cycle >= cycles and through >= files_written and stages.total() == through:
                return True
            sleep(1.0)
    return False


def samples_table(settings: Settings) -> Table:
    """What became of the real files."""
    shown = Table("real file", "stage", "values", "nulls", "set aside", "dropped", "why")
    files = ledger.read(settings.kafka.bootstrap_servers).files.values()
    for file in sorted((f for f in files if f.endpoint == "samples"), key=lambda f: f.path):
        counts = (f"{n:,}" for n in (file.values, file.nulls, file.quarantined, file.dropped))
        shown.add_row(file.path.rpartition("/")[2], file.stage, *counts, file.reason)
    return shown


def where_to_look(pipeline: Pipeline) -> str:
    """The next things a curious person does."""
    stack, config = pipeline.stack, ",".join(os.path.relpath(file) for file in pipeline.config)
    mysql = f"mysql -h {stack.mysql_host} -P {stack.mysql_port} -u root pmflow"
    return f"""
All of it still runs. Where to look next:
  export PMFLOW_CONFIG={config}
  .venv/bin/pmflow status                files and values by system and stage
  .venv/bin/pmflow verify                what is stored against what was written, again
  .venv/bin/pmflow cycles                what became of each period's files
  .venv/bin/pmflow trace 4ga-001         every hop of an element's files, to their tables
  .venv/bin/pmflow parse --summary tests/data/samples/*.xml
  {pipeline.home}/log/                   one log a service, JSON lines
  {pipeline.simulator}/files/            the elements' folders: pm/, pm/done/, pm/error/
  {mysql} -e 'DESCRIBE pm_group'
  curl '{stack.clickhouse_url}/?database=pmflow' -d 'SHOW TABLES'
Stop everything: make down
"""
