"""What each kind of fault does to its target. An action returns when the fault is over and its target runs again."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import Event

from shared.health import not_ready
from tests.chaos.plan import LINE_KINDS, Fault, LineKind
from tests.chaos.world import World
from tools.devstack import processes

Action = Callable[[World, Fault, Event], None]
"""Carries out a fault; the event ends it early."""
TERMINATED_WITHIN_S = 30.0
READY_WITHIN_S = 20.0
POLL_S = 0.1


class NotTerminated(RuntimeError):  # noqa: N818
    """A process did not end in time after SIGTERM."""


def kill(world: World, fault: Fault, ending: Event) -> None:
    """Kills a process and starts it again when the fault is over."""
    if process := processes.find(world.home, fault.target):
        process.kill()
    ending.wait(fault.lasts_s)
    world.start(fault.target)


def terminate(world: World, fault: Fault, ending: Event) -> None:
    """Asks a process to end, and starts it again when the fault is over."""
    try:
        _terminate(world, fault.target)
        ending.wait(fault.lasts_s)
    finally:
        world.start(fault.target)


def freeze(world: World, fault: Fault, ending: Event) -> None:
    """Stops a process without its knowledge: it wakes up with whatever it believed to own."""
    process = processes.find(world.home, fault.target)
    if process is None:
        return
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
        while not_ready(world.health_file(name), time.time(), began_s) and time.monotonic() < until_s:
            if ending.wait(POLL_S):
                break


def line(kind: LineKind, world: World, fault: Fault, ending: Event) -> None:
    """Applies a condition to a line, and heals it when the fault is over."""
    world.proxy.apply(fault.target, kind)
    ending.wait(fault.lasts_s)
    world.proxy.heal(fault.target)


def wipe(world: World, fault: Fault, ending: Event) -> None:
    """Kills ZooKeeper and removes all its data: sessions, locks, epochs, and the count of its transactions."""
    if process := processes.find(world.home, fault.target):
        process.kill()
    world.wipe_zookeeper()
    ending.wait(fault.lasts_s)
    world.start(fault.target)


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
    **{kind: partial(line, kind) for kind in LINE_KINDS},
}
