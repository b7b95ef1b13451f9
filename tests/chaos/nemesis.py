"""Carries out a plan in time, and restarts what ended by itself, as an orchestrator would."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Self

from tests.chaos.actions import ACTIONS, NoEffect
from tests.chaos.plan import Fault
from tests.chaos.world import SERVERS, World
from tools.devstack import processes

AT_ONCE = 24
"""Limit of the faults that are carried out at the same time."""
LOOK_S = 0.5
LOG_TAIL_LINES = 20
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """A fault that is over."""

    fault: Fault
    began_s: float
    """Time since 1970, as the end."""
    ended_s: float
    problem: str = ""
    """Anything that went wrong with its end, such as a process that did not react to SIGTERM."""


@dataclass(frozen=True, slots=True)
class OwnExit:
    """An exit of a process that no fault caused directly."""

    name: str
    reason: str


@dataclass
class Nemesis:
    """Carries out faults, each in a thread of its own."""

    world: World
    ending: Event = field(default_factory=Event)
    """Ends the faults that have begun early."""
    carried_out: list[CarriedOut] = field(default_factory=list)

    def run(self, plan: Sequence[Fault]) -> None:
        """Returns when every fault of the plan is over; an interruption ends them early."""
        began_s = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for fault in plan:
                    self.ending.wait(max(0.0, began_s + fault.at_s - time.monotonic()))
                    pool.submit(self._carry_out, fault)
            except BaseException:
                self.ending.set()
                raise

    def _carry_out(self, fault: Fault) -> None:
        with ExitStack() as held:
            for victim in sorted(fault.victims):
                held.enter_context(self.world.locks[victim])
            began_s, problem = time.time(), ""
            try:
                ACTIONS[fault.kind](self.world, fault, self.ending)
            except NoEffect:
                return
            except Exception as error:  # noqa: BLE001 - reported with the verdict
                problem = repr(error)
            self.carried_out.append(CarriedOut(fault, began_s, time.time(), problem))


@dataclass
class Supervisor:
    """Starts every process again that has ended although no fault holds it."""

    world: World
    stopping: Event = field(default_factory=Event)
    exits: list[OwnExit] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.stopping.wait(LOOK_S):
            for name in (*self.world.instances, *SERVERS):
                lock = self.world.locks[name]
                if lock.acquire(blocking=False):
                    try:
                        self._look(name)
                    except Exception as error:  # noqa: BLE001 - the next look tries again; the report shows it
                        self.exits.append(OwnExit(name, f"not started again: {error!r}"))
                    finally:
                        lock.release()

    def _look(self, name: str) -> None:
        if processes.find(self.world.home, name) is None:
            tail = processes.Process(self.world.home, name, 0, "").log_tail(LOG_TAIL_LINES)
            self.exits.append(OwnExit(name, last_reason(tail.splitlines())))
            self.world.start(name)


def last_reason(lines: Sequence[str]) -> str:
    """Returns the last event of a log with its reason, or the last line if it is no JSON.

    >>> last_reason(['{"event": "process exits", "doing": "scan", "reason": "no answer"}', ""])
    'process exits, scan: no answer'
    """
    told = [line for line in lines if line.strip()]
    if not told:
        return "no log"
    try:
        line = json.loads(told[-1])
    except ValueError:
        return told[-1][-LONGEST_REASON:]
    reason = line.get("reason") or str(line.get("traceback", "")).strip().rpartition("\n")[2]
    return ", ".join(filter(None, (line.get("event"), line.get("doing")))) + (f": {reason}" if reason else "")
