"""`pmflow run`: a service, or all five, as `python -m services.<name>` does it."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.crash import stop_on_signals
from shared.settings import SERVICES
from tools.devstack import processes
from tools.devstack.stack import DEFAULT_HOME


def run_service(
    service: Annotated[str, typer.Argument(help="scanner, fetcher, mysql_writer, ch_bridge, tracker, or all")],
    home: Annotated[Path, typer.Option(help="where logs and pid files of `all` go")] = DEFAULT_HOME,
) -> None:
    """Run a service in the foreground, or all five beside each other until stopped."""
    if service == "all":
        run_all(home)
    elif service in SERVICES:
        os.execv(sys.executable, service_command(service))  # noqa: S606 - the service itself gets the signals
    else:
        raise typer.BadParameter(f"no service {service!r}; there are {', '.join(SERVICES)} and all")


def service_command(service: str) -> list[str]:
    """How a service is started, everywhere."""
    return [sys.executable, "-m", f"services.{service}"]


def run_all(home: Path) -> None:
    """Starts all services, waits for a signal or the end of one of them, then stops all."""
    stop = stop_on_signals()
    running = [process.name for process in processes.running(home) if process.name in SERVICES]
    if running:
        typer.echo(f"already running: {', '.join(running)}; stop them with: pmflow dev down --home {home}", err=True)
        raise typer.Exit(1)
    started = [processes.start(home, service, service_command(service)) for service in SERVICES]
    for process in started:
        typer.echo(f"{process.name}: pid {process.pid}, log {process.log_path}")
    while not stop.wait(0.5):
        ended = [process.name for process in started if not process.alive()]
        if ended:
            typer.echo(f"ended: {', '.join(ended)}; stopping the others", err=True)
            break
    for process in started:
        process.stop(timeout_s=20)
    raise typer.Exit(0 if stop.is_set() else 1)
