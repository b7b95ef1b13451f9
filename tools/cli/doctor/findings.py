"""Findings of the doctor, and the loop that examines all areas side by side, each for a limited time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic
from typing import Literal

from shared.errors import Hopeless, Unreachable
from shared.kafka.record import KafkaFailure
from shared.settings import BadSettings, Settings

Severity = Literal["ok", "skipped", "warning", "error"]
AREA_S = 15.0
"""Longest time for one area."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the doctor found."""

    severity: Severity
    found: str
    meaning: str = ""
    """Consequence for pmflow."""
    remedy: str = ""
    """The command or setting that mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The installation to examine, and how thoroughly."""

    settings: Settings
    elements: int = 5
    """Number of elements of each system to log in to."""
    system: str = ""
    """Examines only this system; empty: all."""
    service: str = "operator"
    """The service, or `operator`, whose rights the login must have."""


Check = Callable[[Installation], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that concern one server or topic; they stop together when one of them gets no answer."""

    name: str
    check: Check
    needs: tuple[str, ...] = ()
    """Areas without which the checks make no sense."""
    within_s: float = AREA_S


@dataclass
class Examination:
    """The examination of one area in a thread of its own; a server that hangs leaves the thread behind."""

    area: Area
    installation: Installation
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.until_s = monotonic() + self.area.within_s
        self.thread = Thread(target=self._run, name=f"doctor-{self.area.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for finding in self.area.check(self.installation):
                self.findings.append(finding)
        except (BadSettings, Hopeless, Unreachable, KafkaFailure) as failure:
            self.findings.append(of_error(failure))
        except Exception as defect:  # noqa: BLE001 - one area must not stop the others
            meaning = "the check itself failed, so nothing is known about the rest of this area"
            self.findings.append(Finding("error", f"{type(defect).__name__}: {defect}", meaning))

    def result(self) -> Sequence[Finding]:
        """Returns what was found until the end, or until the time is over."""
        self.thread.join(max(0.0, self.until_s - monotonic()))
        found = [*self.findings]
        if self.thread.is_alive():
            text = f"the checks of this area did not end within {self.area.within_s:.0f} s"
            found.append(Finding("error", text, "a server accepts connections and does not answer, or is overloaded"))
        return found


def of_error(failure: Exception, meaning: str = "") -> Finding:
    """Returns an error whose text says after its first semicolon what to do."""
    found, _, remedy = str(failure).partition("; ")
    return Finding("error", found, meaning, remedy)


def examine(areas: Sequence[Area], installation: Installation) -> Iterator[tuple[str, Sequence[Finding]]]:
    """Yields each area with its findings, in order. An area begins as soon as those that it needs have ended.

    An area is skipped if one that it needs has an error; it needs only areas that are listed before it.
    """
    running: dict[str, Examination] = {}
    done: dict[str, Sequence[Finding]] = {}
    listed = {area.name for area in areas}
    for area in areas:
        for ready in areas:
            if ready.name not in running and listed & {*ready.needs} <= done.keys() and not _blocked(ready, done):
                running[ready.name] = Examination(ready, installation)
        blocked = _blocked(area, done)
        done[area.name] = [Finding("skipped", blocked)] if blocked else running[area.name].result()
        yield area.name, done[area.name]


def _blocked(area: Area, done: Mapping[str, Sequence[Finding]]) -> str:
    broken = [name for name in area.needs if any(one.severity in {"error", "skipped"} for one in done.get(name, ()))]
    return f"not checked, as it needs {' and '.join(broken)}, which must be mended first" if broken else ""
