"""Actions carry out faults. An action returns when the fault is over and its target runs again."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event

from shared.health import not_started
from shared.kafka.admin import admin_client
from shared.rights import JOINED_GROUPS
from tests.chaos.plan import ELEMENTS, LINE_KINDS, Fault, LineKind
from tests.chaos.world import SYSTEMS, World
from tools.devstack import processes
from tools.simulator.elements import SimulatedElements

Action = Callable[[World, Fault, Event], None]
"""Carries out a fault; the event ends it early."""
TERMINATED_WITHIN_S = 30.0
READY_WITHIN_S = 20.0
GROUPS_WITHIN_S = 15.0
CLOCK_SHIFT_S = 60.0
LARGEST_FILE_BYTES = 4096
NEWEST_FILES = 60
"""The newest files, among which those are that are being collected."""
POLL_S = 0.1


class NoEffect(Exception):  # noqa: N818
    """The target cannot have this fault now, for instance because it does not run."""


class NotTerminated(RuntimeError):  # noqa: N818
    """A process did not end in time after SIGTERM."""


def kill(world: World, fault: Fault, ending: Event) -> None:
    """Kills a process and starts it again when the fault is over."""
    _running(world, fault.target).kill()
    ending.wait(fault.lasts_s)
    world.start(fault.target)


def terminate(world: World, fault: Fault, ending: Event) -> None:
    """Asks a process to end, and starts it again when the fault is over."""
    _running(world, fault.target)
    try:
        _terminate(world, fault.target)
        ending.wait(fault.lasts_s)
    finally:
        world.start(fault.target)


def freeze(world: World, fault: Fault, ending: Event) -> None:
    """Stops a process without its knowledge: it wakes up with whatever it believed to own."""
    process = _running(world, fault.target)
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGSTOP)
        ending.wait(fault.lasts_s)
        os.kill(process.pid, signal.SIGCONT)


def roll(world: World, fault: Fault, ending: Event) -> None:
    """Restarts the instances of a service one after the other, as an upgrade does."""
    for name in fault.victims:
        try:
            _terminate(world, name)
        finally:
            began_s = time.time()
            world.start(name)
        until_s = time.monotonic() + READY_WITHIN_S
        while not_started(world.health_file(name), time.time(), began_s) and time.monotonic() < until_s:
            if ending.wait(POLL_S):
                break


def line(kind: LineKind, world: World, fault: Fault, ending: Event) -> None:
    """Applies a condition to a line, and heals it when the fault is over."""
    world.proxy.apply(fault.target, kind)
    ending.wait(fault.lasts_s)
    world.proxy.heal(fault.target)


def wipe(world: World, fault: Fault, ending: Event) -> None:
    """Kills ZooKeeper and removes all its data: sessions, locks, epochs, and the count of its transactions."""
    _running(world, fault.target).kill()
    world.wipe_zookeeper()
    ending.wait(fault.lasts_s)
    world.start(fault.target)


def forget_groups(world: World, fault: Fault, ending: Event) -> None:
    """Deletes the consumer groups of a service while it is stopped: it reads its topics again from their beginning."""
    try:
        for name in fault.victims:
            _terminate(world, name)
        ending.wait(fault.lasts_s)
        _delete_groups(world, JOINED_GROUPS[fault.target])
    finally:
        for name in fault.victims:
            world.start(name)


def _delete_groups(world: World, groups: Sequence[str]) -> None:
    left, until_s = set(groups), time.monotonic() + GROUPS_WITHIN_S
    while left:
        admin = admin_client(world.stack.kafka)
        for group, deleted in admin.delete_consumer_groups(sorted(left), request_timeout=5).items():
            refusal = deleted.exception()
            if refusal is None or refusal.args[0].name() == "GROUP_ID_NOT_FOUND":
                left.discard(group)
        if left and time.monotonic() > until_s:
            raise NoEffect(f"not deleted: {', '.join(sorted(left))}")


def clock(world: World, fault: Fault, ending: Event) -> None:
    """Sets the clock of an instance a minute ahead or back, and right again when the fault is over."""
    _running(world, fault.target)
    world.set_clock(fault.target, CLOCK_SHIFT_S if fault.number % 2 else -CLOCK_SHIFT_S)
    ending.wait(fault.lasts_s)
    world.set_clock(fault.target, 0.0)


def fill_disk(world: World, fault: Fault, ending: Event) -> None:
    """Lets no file of a process grow beyond a small size, as if its disk were full."""
    process = _running(world, fault.target)
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, hard))
        ending.wait(fault.lasts_s)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def vanish(world: World, fault: Fault, ending: Event) -> None:
    """Removes files that are being collected from their elements, and brings them back when the fault is over."""
    away = world.home / "away"
    away.mkdir(exist_ok=True)
    gone: list[tuple[Path, Path]] = []
    for file in vanishing(world.load.elements):
        with suppress(FileNotFoundError):  # collected meanwhile
            gone.append((file, file.rename(away / f"{fault.number}-{len(gone)}")))
            world.vanished.add(file)
    ending.wait(fault.lasts_s)
    for file, kept in gone:
        kept.rename(file)
    if not gone:
        raise NoEffect("no file is on its element")


def vanishing(elements: SimulatedElements) -> Iterator[Path]:
    """Yields some files whose correction is not due: it would take the place of a file that is away."""
    due = {(delivery.element, delivery.end_s) for delivery in list(elements.pending)}
    for line in elements.written[-NEWEST_FILES:]:
        if (line.element, line.end_s) not in due:
            yield elements.folder(line.system, line.element) / line.file().name


def change_host_key(world: World, fault: Fault, ending: Event) -> None:
    """Restarts the elements' server with a new host key, which the services learn of when the fault is over."""
    _running(world, ELEMENTS).kill()
    (world.elements / "host_key").unlink()
    (world.elements / "inventory" / f"{SYSTEMS[-1]}.yaml").unlink()
    world.start(ELEMENTS)
    if not world.elements_serve(READY_WITHIN_S):
        raise TimeoutError("the elements' server does not serve with its new key")
    ending.wait(fault.lasts_s)
    world.publish_elements()


def _running(world: World, name: str) -> processes.Process:
    process = processes.find(world.home, name)
    if process is None:
        raise NoEffect(f"{name} does not run")
    return process


def _terminate(world: World, name: str) -> None:
    process = processes.find(world.home, name)
    if process is None:
        return
    began_s = time.monotonic()
    process.stop(timeout_s=TERMINATED_WITHIN_S)
    if time.monotonic() - began_s >= TERMINATED_WITHIN_S:
        raise NotTerminated(f"{name} did not end within {TERMINATED_WITHIN_S:.0f} s of SIGTERM and was killed")


ACTIONS: Mapping[str, Action] = {
    "kill": kill,
    "terminate": terminate,
    "freeze": freeze,
    "roll": roll,
    "wipe": wipe,
    "forget-groups": forget_groups,
    "clock": clock,
    "disk-full": fill_disk,
    "vanish": vanish,
    "host-key": change_host_key,
    **{kind: partial(line, kind) for kind in LINE_KINDS},
}
