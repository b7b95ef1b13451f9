"""`pmflow dev`: starts, stops and shows the dev stack."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tools.devstack import stack
from tools.devstack.downloads import MissingPrerequisite, download_all
from tools.devstack.processes import AlreadyRunning
from tools.devstack.servers import NotReady
from tools.devstack.stack import DEFAULT_HOME

app = typer.Typer(no_args_is_help=True)
SecuredOption = Annotated[
    bool, typer.Option("--secured", help="further ports with TLS and logins of all servers; for a stack without data")
]
HomeOption = Annotated[Path, typer.Option(help="folder of the stack's data, logs and pid files")]


@app.command("up")
def dev_up(home: HomeOption = DEFAULT_HOME, secured: SecuredOption = False) -> None:
    """Start the servers that do not run, and wait until each one answers a request."""
    try:
        started = stack.up(home, usual_ports=True, secured=secured)
    except (MissingPrerequisite, AlreadyRunning, NotReady) as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from reason
    print_stack(home)
    if not started.overlay_file.exists():
        started.write_overlay({})
    typer.echo(f"export PMFLOW_CONFIG=deploy/pmflow.yaml,{os.path.relpath(started.overlay_file)}")


@app.command("download")
def dev_download() -> None:
    """Download the servers into the cache, as far as they are missing; `up` does it too."""
    try:
        download_all()
    except MissingPrerequisite as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from reason


@app.command("down")
def dev_down(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop the servers and everything else that runs under the folder, including a demo; the data stays."""
    stopped = stack.down(home)
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else f"nothing runs under {home.resolve()}")


@app.command("status")
def dev_status(home: HomeOption = DEFAULT_HOME) -> None:
    """Show the servers with their addresses, and the other processes that run."""
    print_stack(home)


@app.command("reset")
def dev_reset(home: HomeOption = DEFAULT_HOME) -> None:
    """Stop everything and remove all data; downloads stay."""
    try:
        stack.reset(home)
    except NotReady as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from reason


def print_stack(home: Path) -> None:
    """Prints one row per server, and one per other process that runs."""
    home = home.resolve()
    if not (home / "stack.json").exists():
        typer.echo(f"no dev stack under {home}: start one with pmflow dev up")
        return
    ports = stack.Stack.load(home).ports
    shown = Table("process", "state", "address")
    for component, state in stack.component_states(home).items():
        shown.add_row(component, state, f"127.0.0.1:{ports[component]}")
    for process in stack.running_processes(home):
        if process.name not in stack.COMPONENTS:
            shown.add_row(process.name, "running", f"pid {process.pid}")
    Console().print(shown)
