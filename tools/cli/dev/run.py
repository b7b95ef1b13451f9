"""`pmflow run`: runs one service, or all five, with `python -m services.<name>`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.crash import stop_on_signals
from shared.settings import SERVICES
from tools.cli.output import say
from tools.devstack import processes
from tools.devstack.stack import DEFAULT_HOME


def run_service(
    service: Annotated[str, typer.Argument(help="scanner, fetcher, mysql_writer, ch_bridge, tracker, or all")],
    home: Annotated[Path, typer.Option(help="folder for the logs and pid files of `all`")] = DEFAULT_HOME,
) -> None:
    """Run one service in the foreground, or all five until stopped."""
    if service == "all":
        run_all(home)
    elif service in SERVICES:
        os.execv(sys.executable, service_command(service))  # noqa: S606 - the service itself gets the signals
    else:
        raise typer.BadParameter(f"no service {service!r}; expected {', '.join(SERVICES)} or all")


def service_command(service: str) -> list[str]:
    """Returns the command that starts a service, the same everywhere."""
    return [sys.executable, "-m", f"services.{service}"]


def run_all(home: Path) -> None:
    """Starts all services, waits for a signal or until one of them exits, then stops all."""
    stop = stop_on_signals()
    running = [process.name for process in processes.running(home) if process.name in SERVICES]
    if running:
        say(f"already running: {', '.join(running)}; stop them with: pmflow dev down --home {home}", err=True)
        raise typer.Exit(1)
    started = [processes.start(home, service, service_command(service)) for service in SERVICES]
    for process in started:
        say(f"{process.name}: pid {process.pid}, log {process.log_path}")
    while not stop.wait(0.5):
        ended = [process.name for process in started if not process.alive()]
        if ended:
            say(f"exited: {', '.join(ended)}; stopping the others", err=True)
            break
    for process in started:
        process.stop(timeout_s=20)
    raise typer.Exit(0 if stop.is_set() else 1)
