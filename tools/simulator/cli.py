"""`pmflow simulate`: simulates elements, which write and serve PM files until stopped."""

import asyncio
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from dataclasses import replace as replace_address
from pathlib import Path
from time import time
from typing import Annotated

import typer

from tools.devstack import processes
from tools.simulator.addresses import (
    EVERY_ADDRESS,
    ONE_HOST,
    ServerAddress,
    can_use_all_of_loopback,
    open_files_missing,
)
from tools.simulator.anomalies import ANOMALIES, Anomaly
from tools.simulator.elements import Login, SimulatedElements
from tools.simulator.files import replace
from tools.simulator.generate import Shape
from tools.simulator.serve import SSHAcceptor, known_hosts_lines, serve

SAMPLES_ELEMENT = "samples"
"""The element that serves planted files unless another one is named."""
FOLLOW_UP_INTERVAL_S = 0.5
"""Seconds between two checks for late files that are due."""


@dataclass(frozen=True, slots=True)
class WritingPace:
    """The times at which files are written: every real cycle covers one period."""

    first_s: int
    cycle_s: float
    cycles: int
    """Number of cycles to write; 0: no limit."""

    def over(self, cycles: int) -> bool:
        """Returns True if this number of cycles is the last one."""
        return 0 < self.cycles <= cycles


def simulate(  # noqa: PLR0913, PLR0917 - each is an option
    directory: Annotated[Path, typer.Option("--dir", help="folder of the simulated elements")] = Path(
        ".pmflow/simulator"
    ),
    systems: Annotated[
        str, typer.Option(help="systems with their numbers of elements, comma-separated")
    ] = "4ga:20,5ga:20",
    cells: Annotated[int, typer.Option(help="measured objects per group")] = 3,
    groups: Annotated[int, typer.Option(help="measurement groups per file")] = 3,
    counters: Annotated[int, typer.Option(help="counters per group")] = 20,
    cycle_s: Annotated[float, typer.Option(help="real seconds between two files of an element")] = 300.0,
    gp_s: Annotated[int, typer.Option(help="granularity period in the files; each cycle covers the next period")] = 900,
    cycles: Annotated[
        int, typer.Option(help="number of cycles to write, after which files are only served; 0: no limit")
    ] = 0,
    seed: Annotated[int, typer.Option(help="seed of the generated values")] = 1,
    one_host: Annotated[
        bool, typer.Option("--one-host", help="all elements behind 127.0.0.1, as behind an OSS")
    ] = False,
    host: Annotated[
        str, typer.Option(help="address to listen on, of one host for all elements; by default each has its own")
    ] = "",
    advertise: Annotated[str, typer.Option(help="host name for clients, by default --host")] = "",
    port: Annotated[int, typer.Option(help="port; 0: the same as before, or a free one")] = 0,
    start: Annotated[
        int,
        typer.Option(
            help="end of the first period, seconds since 1970; 0: such that the last of --cycles has just ended"
        ),
    ] = 0,
    plant: Annotated[str, typer.Option(help="DIR[=system/element]: real files for an extra element")] = "",
    in_place_share: Annotated[
        float, typer.Option(help="share of files that are written slowly under their final name")
    ] = 0.1,
    anomalies: Annotated[
        str, typer.Option(help=f"anomalies to plant in each period: {', '.join(ANOMALIES)}, or all")
    ] = "",
    late_s: Annotated[float, typer.Option(help="real seconds after their period at which late files appear")] = 900.0,
    serve_only: Annotated[
        bool, typer.Option("--serve-only", help="write no files; serve those that something else writes")
    ] = False,
) -> None:
    """Simulate elements: write PM files every cycle, serve them by SFTP, and record the truth of every value."""
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
        place = chosen_address(host or (ONE_HOST if one_host else ""), advertise, port)
        _warn_of_open_files(len(elements.logins()))
        asyncio.run(_run(elements, place, None if serve_only else pace))


def chosen_address(host: str, advertise: str, port: int) -> ServerAddress:
    """Returns the address to listen on: the host that is named, or all addresses of the machine's loopback.

    >>> chosen_address("10.0.0.1", "oss", 22)
    ServerAddress(listen='10.0.0.1', advertised='oss', port=22)
    """
    if not host and not advertise:
        if can_use_all_of_loopback():
            return ServerAddress(EVERY_ADDRESS, "", port)
        typer.echo(
            "this machine has no other loopback address than 127.0.0.1: all elements are behind this one host", err=True
        )
    return ServerAddress(host or ONE_HOST, advertise or host or ONE_HOST, port)


def _warn_of_open_files(elements: int) -> None:
    if missing := open_files_missing(elements):
        typer.echo(
            f"{elements} elements may need {missing} more open files than the limit of this process allows: "
            "connections may be refused; raise it with `ulimit -Hn`",
            err=True,
        )


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Prevents a second simulator in the same folder, and lets `pmflow dev down` find this one."""
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
    """Returns the anomalies that the option --anomalies names.

    >>> chosen_anomalies("missing,late")
    ('late', 'missing')
    """
    named = set(ANOMALIES if option == "all" else filter(None, option.split(",")))
    if unknown := named - set(ANOMALIES):
        raise typer.BadParameter(f"unknown anomalies {', '.join(sorted(unknown))}; expected {', '.join(ANOMALIES)}")
    return tuple(anomaly for anomaly in ANOMALIES if anomaly in named)


def planted(option: str, system: str) -> tuple[Path, str, str]:
    """Returns the folder, system and element that the option --plant names.

    >>> planted("real=5ga/extra", "4ga")[1:]
    ('5ga', 'extra')
    """
    folder, equals, target = option.rpartition("=")
    if not equals:
        return Path(option), system, SAMPLES_ELEMENT
    of_system, _, element = target.partition("/")
    return Path(folder), of_system, element or SAMPLES_ELEMENT


async def _run(elements: SimulatedElements, place: ServerAddress, pace: WritingPace | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logins = elements.logins()
    server = await _serve_on_usual_port(elements, logins, place)
    place = replace_address(place, port=server.get_port())
    _publish_address(elements, place)
    first = place.hosts(0)[0]
    typer.echo(json.dumps({"serving": f"{first}:{place.port}", "elements": len(logins)}))
    if pace:
        await _write(elements, pace, stop)
    await stop.wait()
    server.close()  # without waiting: clients keep their connections open


async def _serve_on_usual_port(
    elements: SimulatedElements, logins: Mapping[str, Login], place: ServerAddress
) -> SSHAcceptor:
    """Listens on the same port as before, so that clients find it again, or on a free one if it is in use."""
    file = elements.directory / "port"
    usual = place.port or (int(file.read_text()) if file.exists() else 0)
    try:
        return await serve(elements.directory, logins, replace_address(place, port=usual))
    except OSError:
        if place.port or not usual:
            raise
        return await serve(elements.directory, logins, place)


def _publish_address(elements: SimulatedElements, place: ServerAddress) -> None:
    """Writes the inventory last: once it exists, clients can connect."""
    hosts = place.hosts(len(elements.logins()))
    replace(elements.directory / "port", str(place.port).encode())
    replace(elements.directory / "known_hosts", known_hosts_lines(elements.directory, hosts, place.port).encode())
    elements.write_dictionaries()
    elements.write_inventory(place)


async def _write(elements: SimulatedElements, pace: WritingPace, stop: asyncio.Event) -> None:
    """Writes a file of each element every cycle; continues after the last cycle of an earlier run."""
    clock_s = asyncio.get_running_loop().time
    due_s = clock_s()
    end_s = await asyncio.to_thread(elements.resume) or pace.first_s
    while not stop.is_set():
        last = pace.over(elements.cycles)
        elements.write_progress(over=last and not elements.pending)
        if last and not elements.pending:
            return
        if clock_s() >= due_s and not last:
            # the next start completes an interrupted cycle
            await asyncio.to_thread(elements.write_cycle, end_s, stop.is_set)
            end_s += elements.shape.gp_s
            due_s = max(due_s + pace.cycle_s, clock_s())  # a delay by a slow cycle is not made up for
            continue
        await asyncio.to_thread(elements.follow_up)
        look_s = clock_s() + FOLLOW_UP_INTERVAL_S
        with suppress(TimeoutError):
            async with asyncio.timeout_at(look_s if last else min(due_s, look_s) if elements.pending else due_s):
                await stop.wait()
