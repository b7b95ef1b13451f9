"""`pmflow simulate`: elements that write and serve PM files until stopped."""

import asyncio
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Annotated

import typer

from tools.devstack import processes
from tools.simulator.anomalies import ANOMALIES, Anomaly
from tools.simulator.elements import Login, SimulatedElements
from tools.simulator.files import replace
from tools.simulator.generate import Shape
from tools.simulator.serve import SSHAcceptor, known_hosts_line, serve

SAMPLES_ELEMENT = "samples"
"""The element that real files are put on, unless another is named."""
FOLLOW_UP_INTERVAL_S = 0.5
"""Between two looks whether what comes later is due."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where the elements are reached."""

    host: str
    advertised: str
    port: int


@dataclass(frozen=True, slots=True)
class WritingPace:
    """How time goes: every real cycle is one period of the files."""

    first_s: int
    cycle_s: float
    cycles: int
    """0: without end."""

    def over(self, cycles: int) -> bool:
        """Whether so many are all."""
        return 0 < self.cycles <= cycles


def simulate(  # noqa: PLR0913, PLR0917 - each is an option
    directory: Annotated[Path, typer.Option("--dir", help="its folder")] = Path(".pmflow/simulator"),
    systems: Annotated[str, typer.Option(help="system:elements, comma-separated")] = "4ga:20,5ga:20",
    cells: Annotated[int, typer.Option(help="measured objects of a group")] = 3,
    groups: Annotated[int, typer.Option(help="measurement groups of a file")] = 3,
    counters: Annotated[int, typer.Option(help="counters of a group")] = 20,
    cycle_s: Annotated[float, typer.Option(help="real seconds between two files of an element")] = 300.0,
    gp_s: Annotated[int, typer.Option(help="the period the files tell; each cycle is one period on")] = 900,
    cycles: Annotated[int, typer.Option(help="stop writing after so many, serve on; 0: never")] = 0,
    seed: Annotated[int, typer.Option(help="another one gives other values")] = 1,
    host: Annotated[str, typer.Option(help="where to listen")] = "127.0.0.1",
    advertise: Annotated[str, typer.Option(help="the name clients connect to; else --host")] = "",
    port: Annotated[int, typer.Option(help="0: the one it had before, else a free one")] = 0,
    start: Annotated[
        int, typer.Option(help="end of the first period, seconds since 1970; 0: none of --cycles is to come")
    ] = 0,
    plant: Annotated[str, typer.Option(help="DIR[=system/element]: real files, for an extra element")] = "",
    in_place_share: Annotated[float, typer.Option(help="of files written slowly under their own name")] = 0.1,
    anomalies: Annotated[str, typer.Option(help=f"planted each period: {', '.join(ANOMALIES)}, or all")] = "",
    late_s: Annotated[
        float, typer.Option(help="so long after their period late files come, by the real clock")
    ] = 900.0,
) -> None:
    """Pretend to be elements: write PM files every cycle, serve them by SFTP, know the truth of every value."""
    try:
        shape = Shape(seed=seed, cells=cells, groups=groups, counters=counters, gp_s=gp_s)
        sizes = {name: int(many) for name, _, many in (system.partition(":") for system in systems.split(","))}
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with _alone(directory.resolve()):
        elements = SimulatedElements(
            directory.resolve(), sizes, shape, in_place_share, chosen_anomalies(anomalies), late_s
        )
        if plant:
            samples, system, element = planted(plant, next(iter(sizes)))
            elements.plant(samples, system, element)
        newest_s = int(time()) // gp_s * gp_s
        pace = WritingPace(start or newest_s - max(cycles - 1, 0) * gp_s, cycle_s, cycles)
        asyncio.run(_run(elements, ServerAddress(host, advertise or host, port), pace))


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keeps a second simulator from writing to the same folder, and lets `pmflow dev down` find this one."""
    try:
        registered = processes.register(directory, "simulator")
    except processes.AlreadyRunning as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from reason
    try:
        yield
    finally:
        registered.forget()


def chosen_anomalies(option: str) -> tuple[Anomaly, ...]:
    """The anomalies that --anomalies names.

    >>> chosen_anomalies("missing,late")
    ('late', 'missing')
    """
    named = set(ANOMALIES if option == "all" else filter(None, option.split(",")))
    if unknown := named - set(ANOMALIES):
        raise typer.BadParameter(f"no anomaly {sorted(unknown)}; there are {', '.join(ANOMALIES)}")
    return tuple(anomaly for anomaly in ANOMALIES if anomaly in named)


def planted(option: str, system: str) -> tuple[Path, str, str]:
    """The folder, system and element that --plant names.

    >>> planted("real=5ga/extra", "4ga")[1:]
    ('5ga', 'extra')
    """
    folder, equals, target = option.rpartition("=")
    if not equals:
        return Path(option), system, SAMPLES_ELEMENT
    of_system, _, element = target.partition("/")
    return Path(folder), of_system, element or SAMPLES_ELEMENT


async def _run(elements: SimulatedElements, place: ServerAddress, pace: WritingPace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logins = elements.logins()
    server = await _serve_on_usual_port(elements, logins, place)
    port = server.get_port()
    _tell_how_to_connect(elements, place.advertised, port)
    typer.echo(json.dumps({"serving": f"{place.advertised}:{port}", "elements": len(logins)}))
    await _write(elements, pace, stop)
    await stop.wait()
    server.close()  # not waited for: collectors keep their connections open


async def _serve_on_usual_port(
    elements: SimulatedElements, logins: Mapping[str, Login], place: ServerAddress
) -> SSHAcceptor:
    """Listens on the port it had before, so that clients find it again; on a free one if that is in use by now."""
    file = elements.directory / "port"
    usual = place.port or (int(file.read_text()) if file.exists() else 0)
    try:
        return await serve(elements.directory, logins, place.host, usual)
    except OSError:
        if place.port or not usual:
            raise
        return await serve(elements.directory, logins, place.host, 0)


def _tell_how_to_connect(elements: SimulatedElements, host: str, port: int) -> None:
    """The inventory comes last: who finds it can connect."""
    replace(elements.directory / "port", str(port).encode())
    replace(elements.directory / "known_hosts", known_hosts_line(elements.directory, host, port).encode())
    elements.write_dictionaries()
    elements.write_inventory(host, port)


async def _write(elements: SimulatedElements, pace: WritingPace, stop: asyncio.Event) -> None:
    """A cycle, a pause, the next one, until all is written; goes on after the last one of an earlier run."""
    clock_s = asyncio.get_running_loop().time
    due_s = clock_s()
    end_s = await asyncio.to_thread(elements.resume) or pace.first_s
    while not stop.is_set():
        last = pace.over(elements.cycles)
        elements.write_progress(over=last and not elements.pending)
        if last and not elements.pending:
            return
        if clock_s() >= due_s and not last:
            await asyncio.to_thread(elements.write_cycle, end_s, stop.is_set)  # cut short, the next start completes it
            end_s += elements.shape.gp_s
            due_s = max(due_s + pace.cycle_s, clock_s())  # what a slow cycle took is not made up for
            continue
        await asyncio.to_thread(elements.follow_up)
        look_s = clock_s() + FOLLOW_UP_INTERVAL_S
        with suppress(TimeoutError):
            async with asyncio.timeout_at(look_s if last else min(due_s, look_s) if elements.pending else due_s):
                await stop.wait()
