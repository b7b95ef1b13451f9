"""`pmflow demo`: the whole pipeline on this machine, from empty servers to verified values, any number of times."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Group
from rich.live import Live

from shared import topics
from shared.errors import Unreachable
from shared.kafka import admin
from shared.kafka.record import KafkaFailure
from shared.settings import SERVICES, BadSettings, Settings
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import ledger, status, verify
from tools.cli.operate.cycles import cycles_table, read_cycles
from tools.cli.output import OutputTable, say, say_lines, show
from tools.devstack import processes
from tools.devstack import stack as devstack
from tools.devstack.downloads import MissingPrerequisite
from tools.devstack.servers import NotReady
from tools.devstack.stack import DEFAULT_HOME, REPOSITORY

SAMPLE_FILES = REPOSITORY / "tests" / "data" / "samples"
DEMO_SCHEDULE = {
    "spring": {"pm": {"cron": {"schedule-scan": "*/5 * * * * *"}, "immediate-run-delay": 1}},
    "tracker": {"lateness_s": 1},
}
"""Scans every five seconds instead of five minutes, and closes cycles at once; the rest is the user's YAML."""
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
MUST_RUN = (*devstack.COMPONENTS, "simulator", *SERVICES)


class ProcessEnded(RuntimeError):  # noqa: N818
    """A process of the demo has ended unexpectedly."""


class Terminated(BaseException):
    """The demo received SIGTERM."""


UNDERSTANDABLE = (
    *(ProcessEnded, NotReady, MissingPrerequisite, processes.AlreadyRunning),
    *(BadSettings, Unreachable, KafkaFailure, OSError),
)
"""Errors whose text is enough for a user; any other error is a defect and shows its traceback."""


@dataclass(frozen=True, slots=True)
class DemoSize:
    """The amount of data in the demo, and the time it may take."""

    elements: int
    cycles: int
    cycle_s: float
    patience_s: float


def demo_command(
    elements: Annotated[int, typer.Option(help="number of elements of each of the two systems")] = 20,
    cycles: Annotated[int, typer.Option(help="number of reporting periods that the elements write")] = 3,
    cycle_s: Annotated[float, typer.Option(help="real seconds between two periods")] = 20.0,
    patience_s: Annotated[float, typer.Option(help="seconds after which the demo gives up")] = 600.0,
    home: Annotated[Path, typer.Option(help="folder of all data; data of an earlier demo is removed")] = DEFAULT_HOME,
) -> None:
    """Run the whole pipeline with empty servers and simulated elements, show its progress, and verify every value.

    A demo that still runs is stopped first, and the data of the previous demo is removed.
    """
    home = home.resolve()
    with ending_plainly(home):
        stop_earlier_demo(home)
        right = run_demo(home, DemoSize(elements, cycles, cycle_s, patience_s))
    raise typer.Exit(0 if right else 1)


@contextmanager
def ending_plainly(home: Path) -> Iterator[None]:
    """Turns an interruption, or an error that a user can understand, into a message and an exit code."""

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        ignore_signals()
        code, message = int(INTERRUPTED), f"interrupted; {what_still_runs(home)}"
    except Terminated:
        ignore_signals()
        code, message = int(TERMINATED), "stopped: `make down` or another `make demo` has ended this demo"
    except UNDERSTANDABLE as error:
        ignore_signals()
        code, message = 1, f"the demo failed: {error}\n{what_still_runs(home)}"
    else:
        return
    finally:
        registered = processes.find(home, devstack.DEMO_PROCESS)
        if registered is not None and registered.pid == os.getpid():
            registered.forget()
    say_lines(f"\n{message}")  # the first ends the line of a table, or of the ^C that a terminal shows
    raise typer.Exit(code)


def ignore_signals() -> None:
    """Keeps a second Ctrl-C from cutting the last message short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def what_still_runs(home: Path) -> str:
    """Returns the names of the running processes, and how to stop them."""
    names = names_running(home)
    return f"still running: {', '.join(names)}; stop them with: {how_to_stop(home)}" if names else "nothing runs"


def names_running(home: Path) -> list[str]:
    """Returns the names of the processes that run under the folder besides this demo."""
    return [process.name for process in devstack.running_processes(home) if process.pid != os.getpid()]


def how_to_stop(home: Path) -> str:
    """Returns the command that stops everything under the folder."""
    return "make down" if home == DEFAULT_HOME.resolve() else f".venv/bin/pmflow dev down --home {home}"


def stop_earlier_demo(home: Path) -> None:
    """Stops the demo that still runs and everything it started, and removes its data."""
    before = processes.take_over(home, devstack.DEMO_PROCESS)
    if before is not None:
        say(f"stopped the demo that was still running, pid {before.pid}")
    if names_running(home) or (home / "data").exists():
        say(f"stopping the processes under {home} and removing their data")
    devstack.empty(home)


def run_demo(home: Path, size: DemoSize) -> bool:
    """Runs the demo on empty servers; returns True if every value is stored once and correctly."""
    say("starting Kafka, ZooKeeper, MySQL and the ClickHouse engine (the first run downloads them)")
    stack = devstack.up(home)
    pipeline = Pipeline(home, stack, overrides=DEMO_SCHEDULE | with_dictionaries(stack.simulator))
    simulator = pipeline.simulate(
        "--systems", f"4ga:{size.elements},5ga:{size.elements}", "--cycles", str(size.cycles),
        "--cycle-s", str(size.cycle_s), "--plant", str(SAMPLE_FILES),
    )  # fmt: skip
    settings = pipeline.configure()
    with blaming_ended_processes(pipeline, (*devstack.COMPONENTS, "simulator")):
        wait_for_inventory(pipeline, simulator)
        admin.provision(settings.kafka, topics.provisioned(s.name for s in settings.systems))
    pipeline.start()
    with blaming_ended_processes(pipeline, MUST_RUN):
        through = watch_progress(pipeline, settings, size)
        found = verify.settled_outcomes(settings, pipeline.simulator, within_s=60)
        check_running(pipeline, MUST_RUN)
        figures = cycles_table(read_cycles(settings.kafka))
        say("")
        show(samples_table(settings), verify.outcomes_table(found), figures)
    say("late: the simulated periods ended before the demo started")
    if not through:
        say(f"some files were not finished within {size.patience_s:.0f} s: see pmflow status, pmflow errors")
    say_lines(where_to_look(pipeline))
    return through and all(outcome.right for outcome in found)


def check_running(pipeline: Pipeline, names: Sequence[str]) -> None:
    """Checks that the processes of these names run.

    Raises:
        ProcessEnded: a process does not run; the text names it and its log.
    """
    ended = pipeline.ended(names)
    if ended:
        raise ProcessEnded(
            "; ".join(f"{name} has ended unexpectedly, see its log {log}" for name, log in ended.items())
        )


@contextmanager
def blaming_ended_processes(pipeline: Pipeline, names: Sequence[str]) -> Iterator[None]:
    """Reports a process that has ended instead of the errors that follow from it."""
    try:
        yield
    except ProcessEnded:
        raise
    except Exception:
        check_running(pipeline, names)
        raise


def with_dictionaries(simulator: Path) -> dict[str, Any]:
    """Returns settings that name the dictionaries of the simulated elements' counters."""
    return {name: {"counter-dictionary": str(simulator / "dictionary" / f"{name}.yaml")} for name in ("4ga", "5ga")}


def wait_for_inventory(pipeline: Pipeline, simulator: processes.Process, within_s: float = 60.0) -> None:
    """Waits for the inventory, which the simulator writes as soon as its elements can be reached."""
    until_s = monotonic() + within_s
    while not (pipeline.simulator / "inventory" / "5ga.yaml").exists():
        if not simulator.alive() or monotonic() > until_s:
            raise NotReady(f"the simulator did not start, see its log {simulator.log_path}")
        sleep(0.1)


def written_so_far(pipeline: Pipeline) -> dict[str, int]:
    """Returns the numbers of cycles, files and values that the simulator has written so far."""
    file = pipeline.simulator / "written.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def watch_progress(pipeline: Pipeline, settings: Settings, size: DemoSize) -> bool:
    """Shows the progress until the last file is finished; returns False if this takes longer than allowed.

    Raises:
        ProcessEnded: a process of the demo has ended unexpectedly.
    """
    until_s = monotonic() + size.patience_s
    with Live(refresh_per_second=2) as live:
        while monotonic() < until_s:
            check_running(pipeline, MUST_RUN)
            so_far = written_so_far(pipeline)
            files = ledger.read_ledger(settings.kafka).files.values()
            stages = Counter(file.stage for file in files)
            through = stages["done"] + stages["error"]
            cycle, files_written = so_far.get("cycles", 0), so_far.get("files", 0)
            says = f"cycle {cycle} of {size.cycles}: {files_written} files written, {through} finished"
            live.update(Group(status.files_table(files), says))
            if cycle >= size.cycles and through >= files_written and stages.total() == through:
                return True
            sleep(1.0)
    return False


def samples_table(settings: Settings) -> OutputTable:
    """Returns a table with one row per real file: its stage, its values and the reason."""
    shown = OutputTable("real file", "stage", "values", "nulls", "quarantined", "dropped", "reason")
    files = ledger.read_ledger(settings.kafka).files.values()
    for file in sorted((f for f in files if f.endpoint == "samples"), key=lambda f: f.path):
        counts = (f"{n:,}" for n in (file.values, file.nulls, file.quarantined, file.dropped))
        shown.add_row(file.path.rpartition("/")[2], file.stage, *counts, file.reason)
    return shown


def where_to_look(pipeline: Pipeline) -> str:
    """Returns a text with commands to try next."""
    stack, config = pipeline.stack, ",".join(os.path.relpath(file) for file in pipeline.config)
    mysql = f"mysql -h {stack.mysql_host} -P {stack.mysql_port} -u root pmflow"
    return f"""
Everything is still running. Commands to try next:
  export PMFLOW_CONFIG={config}
  .venv/bin/pmflow status                files and values by system and stage
  .venv/bin/pmflow verify                compare the databases with the written values again
  .venv/bin/pmflow cycles                the figures of each period
  .venv/bin/pmflow trace 4ga-001         every hop of an element's files, up to their tables
  .venv/bin/pmflow parse --summary tests/data/samples/*.xml
  {pipeline.home}/log/                   one log per service, JSON lines
  {pipeline.simulator}/files/            the elements' folders: pm/, pm/done/, pm/error/
  {mysql} -e 'DESCRIBE pm_group'
  curl '{stack.clickhouse_url}/?database=pmflow' -d 'SHOW TABLES'
Stop everything: {how_to_stop(pipeline.home)}
Run it again with empty servers: make demo
"""
