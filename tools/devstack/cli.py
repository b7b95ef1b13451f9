"""`pmflow dev`: the stack from the command line."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tools.devstack import stack
from tools.devstack.downloads import MissingPrerequisite
from tools.devstack.processes import AlreadyRunning
from tools.devstack.servers import NotReady
from tools.devstack.stack import DEFAULT_HOME

app = typer.Typer(no_args_is_help=True)
HomeOption = Annotated[Path, typer.Option(help="folder of its data, logs and pid files")]


@app.command("up")
def dev_up(home: HomeOption = DEFAULT_HOME) -> None:
    """Start what does not run; returns when each server answers a real request."""
    try:
        started = stack.up(home, usual_ports=True)
    except (MissingPrerequisite, AlreadyRunning, NotReady) as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from reason
    print_stack(home)
    if not started.overlay_file.exists():
        started.write_overlay({})
    typer.echo(f"export PMFLOW_CONFIG=deploy/pmflow.yaml,{os.path.relpath(started.overlay_file)}")


@app.command("down")
def dev_down(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop the servers, and all else that was started under the folder, a running demo too; the data stays."""
    stopped = stack.down(home)
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else f"nothing runs under {home.resolve()}")


@app.command("status")
def dev_status(home: HomeOption = DEFAULT_HOME) -> None:
    """Show what runs, where."""
    print_stack(home)


@app.command("reset")
def dev_reset(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop all and remove all data; what was downloaded stays."""
    try:
        stack.reset(home)
    except NotReady as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from reason


def print_stack(home: Path) -> None:
    """Print one row per server, and per other process that runs."""
    home = home.resolve()
    if not (home / "stack.json").exists():
        typer.echo("nothing there yet: pmflow dev up")
        return
    ports = stack.Stack.load(home).ports
    shown = Table("server", "is", "at")
    for component, state in stack.component_states(home).items():
        shown.add_row(component, state, f"127.0.0.1:{ports[component]}")
    for process in stack.running_processes(home):
        if process.name not in stack.COMPONENTS:
            shown.add_row(process.name, "runs", f"pid {process.pid}")
    Console().print(shown)
