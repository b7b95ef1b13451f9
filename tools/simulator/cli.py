"""`pmflow simulate`: elements that write and serve PM files until stopped."""

import asyncio
import json
import signal
from pathlib import Path
from time import time
from typing import Annotated

import typer

from tools.simulator.elements import Elements
from tools.simulator.generate import Shape
from tools.simulator.serve import known_hosts_line, serve


def simulate(  # noqa: PLR0913, PLR0917 - each is an option
    directory: Annotated[Path, typer.Option("--dir", help="its folder")] = Path(".pmflow/simulator"),
    systems: Annotated[str, typer.Option(help="system:elements, comma-separated")] = "4ga:20,5ga:20",
    cells: Annotated[int, typer.Option(help="measured objects of a group")] = 3,
    groups: Annotated[int, typer.Option(help="measurement groups of a file")] = 3,
    counters: Annotated[int, typer.Option(help="counters of a group")] = 20,
    cycle_s: Annotated[float, typer.Option(help="real seconds between two files of an element")] = 300.0,
    gp_s: Annotated[int, typer.Option(help="the period the files tell")] = 900,
    cycles: Annotated[int, typer.Option(help="stop writing after so many; 0: never")] = 0,
    seed: Annotated[int, typer.Option(help="another one gives other values")] = 1,
    host: Annotated[str, typer.Option(help="where to listen")] = "127.0.0.1",
    advertise: Annotated[str, typer.Option(help="the name clients connect to; else --host")] = "",
    port: Annotated[int, typer.Option(help="0: a free one")] = 0,
    start: Annotated[int, typer.Option(help="end of the first period, seconds since 1970; 0: the last full one")] = 0,
    plant: Annotated[Path | None, typer.Option(help="real files for an extra element of the first system")] = None,
    in_place_share: Annotated[float, typer.Option(help="of files written slowly under their own name")] = 0.1,
) -> None:
    """Pretend to be elements: write PM files every cycle, serve them by SFTP, know the truth of every value."""
    shape = Shape(seed=seed, cells=cells, groups=groups, counters=counters, gp_s=gp_s)
    sizes = {name: int(many) for name, _, many in (system.partition(":") for system in systems.split(","))}
    elements = Elements(directory.resolve(), sizes, shape, in_place_share)
    if plant is not None:
        elements.plant(plant, next(iter(sizes)))
    first_s = start or int(time()) // gp_s * gp_s
    asyncio.run(_run(elements, host, advertise or host, port, first_s, cycle_s, cycles))


async def _run(  # noqa: PLR0913, PLR0917
    elements: Elements, host: str, advertised: str, port: int, first_s: int, cycle_s: float, cycles: int
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await serve(elements.directory, elements.roots(), elements.password(), host, _usual(elements, port))
    port = server.get_port()
    (elements.directory / "port").write_text(str(port))
    (elements.directory / "known_hosts").write_text(known_hosts_line(elements.directory, advertised, port))
    elements.write_inventory(advertised, port)
    typer.echo(json.dumps({"serving": f"{advertised}:{port}", "elements": len(elements.roots())}))
    await _write(elements, first_s, cycle_s, cycles, stop)
    await stop.wait()
    server.close()


def _usual(elements: Elements, port: int) -> int:
    """The port it had before, so that clients find it again after a restart."""
    file = elements.directory / "port"
    return port or (int(file.read_text()) if file.exists() else 0)


async def _write(elements: Elements, first_s: int, cycle_s: float, cycles: int, stop: asyncio.Event) -> None:
    """A cycle, a pause; goes on after the last one of an earlier run."""
    last_s = await asyncio.to_thread(elements.take_up)
    end_s = first_s if last_s is None else last_s + elements.shape.gp_s
    done = len({line.end_s for line in elements.manifest.lines() if not isinstance(line, tuple)})
    elements.tell(done)
    while not stop.is_set() and (not cycles or done < cycles):
        await asyncio.to_thread(elements.write_cycle, end_s)
        done, end_s = done + 1, end_s + elements.shape.gp_s
        elements.tell(done)
        try:
            await asyncio.wait_for(stop.wait(), cycle_s)
        except TimeoutError:
            continue
