"""Steady load: the simulated elements write files with all anomalies, in this process, which no fault reaches.

The elements' SFTP server is a process of its own over the same files, which can be killed. So the manifest, and with it
the truth, never depends on what a kill interrupts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import monotonic, time

from tools.simulator.anomalies import ANOMALIES
from tools.simulator.elements import SimulatedElements
from tools.simulator.generate import Shape
from tools.simulator.truth import Manifest, Written

GP_S = 60
AGO_S = 86_400
"""Age of the first period: every file is late, whatever the clocks of the services say."""
LATE_S = 1.0
FOLLOW_UP_S = 0.5


def load_elements(directory: Path, systems: Mapping[str, int], seed: int) -> SimulatedElements:
    """Returns the elements of a load, which are not written to yet."""
    return SimulatedElements(directory, systems, Shape(seed=seed, gp_s=GP_S), anomalies=ANOMALIES, late_s=LATE_S)


@dataclass
class Load:
    """Writes a file of each element every cycle, until it is told that the next cycle is the last one."""

    elements: SimulatedElements
    cycle_s: float
    stopping: Event = field(default_factory=Event)
    failure: str = ""
    ended_s: float = 0.0
    """Time of the last file."""

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def finish(self, within_s: float) -> bool:
        """Writes one more cycle and all corrections that are still due; returns False if these were not in time."""
        self.stopping.set()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - reported with the verdict
            self.failure = repr(error)

    def _write(self) -> None:
        end_s = (int(time()) - AGO_S) // GP_S * GP_S
        is_last = False
        while not is_last:
            is_last = self.stopping.is_set()
            self.elements.write_cycle(end_s)
            end_s += GP_S
            self._follow_up(monotonic() + self.cycle_s)
        while self.elements.pending:
            self._follow_up(monotonic() + FOLLOW_UP_S)
        self.elements.write_progress(over=True)
        self.ended_s = time()

    def _follow_up(self, until_s: float) -> None:
        """Writes late files and corrections until the next cycle is due."""
        while (left_s := until_s - monotonic()) > 0:
            self.elements.follow_up()
            if self.stopping.wait(min(FOLLOW_UP_S, left_s)):
                Event().wait(min(FOLLOW_UP_S, left_s))


def written_files(directory: Path) -> list[Written]:
    """Returns the manifest lines of all files so far."""
    return [line for line in Manifest(directory).lines() if isinstance(line, Written)]
