"""The elements' folders: what they write there every cycle, and the inventory that names them."""

import hmac
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from time import sleep, time
from typing import BinaryIO, NamedTuple

import yaml

from tools.simulator.anomalies import Anomaly, When, anomaly_of, answers, deliveries
from tools.simulator.dictionary import dictionary
from tools.simulator.files import is_there, replace, save_secret
from tools.simulator.generate import Shape, pm_file
from tools.simulator.truth import Line, Manifest, Planted, Written, golden_rows

PM_SUFFIXES = frozenset((".xml", ".gz", ".csv", ".zip", ".tar"))
IN_PLACE_PAUSE_S = 0.2
"""Between the two halves of a file that is written under its own name."""
IN_PLACE_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Login:
    """An element as SFTP shows it: a host of its own."""

    root: Path
    password: str


class Delivery(NamedTuple):
    """A file that is to be written."""

    system: str
    element: str
    end_s: int
    kind: str
    """See `generate.pm_file`."""


@dataclass
class Elements:
    """All elements of a simulator's folder; what an earlier run left there is counted at once."""

    directory: Path
    systems: Mapping[str, int]
    """System -> number of its elements."""
    shape: Shape
    in_place_share: float = 0.1
    """Of files written slowly, and seen half-written."""
    anomalies: Sequence[Anomaly] = ()
    """Planted each period."""
    late_s: float = 900.0
    """Files that come late do so that long after the end of their period."""
    clock: Callable[[], float] = time
    """Seconds since 1970."""
    periods: set[int] = field(default_factory=set, init=False)
    """Their ends."""
    files: int = field(default=0, init=False)
    values: int = field(default=0, init=False)
    written: list[Written] = field(default_factory=list, init=False)
    """Lines of the last period; of all, where anomalies are planted."""
    owed: dict[Delivery, When] = field(default_factory=dict, init=False)
    """What is still to be written of the periods so far."""
    planted: set[tuple[str, str, str]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.manifest = Manifest(self.directory)
        self.manifest.mend()
        for line in self.manifest.lines():
            self._count(line)
        for system, element in self.names():
            self.folder(system, element).mkdir(parents=True, exist_ok=True)
        for end_s in self.periods:
            self._owe(end_s)
        for delivery in [d for d, when in self.owed.items() if when == "at once" and d.end_s < max(self.periods)]:
            del self.owed[delivery]  # was written, or is of an element that joins now

    @property
    def cycles(self) -> int:
        """Periods so far."""
        return len(self.periods)

    def names(self) -> Iterator[tuple[str, str]]:
        """System and element of all that write."""
        for system, many in self.systems.items():
            for number in range(1, many + 1):
                yield system, f"{system}-{number:03}"

    def folder(self, system: str, element: str) -> Path:
        """Where an element writes; its login sees the parent as its root."""
        return self.directory / "files" / system / element / "pm"

    def logins(self) -> dict[str, Login]:
        """By user name, which is the element's."""
        return {
            root.name: Login(root, self._password(root.name)) for root in sorted((self.directory / "files").glob("*/*"))
        }

    def _password(self, element: str) -> str:
        """One an element, all from a secret of this folder."""
        file = self.directory / "secret"
        if not file.exists():
            save_secret(file, secrets.token_bytes())
        return hmac.digest(file.read_bytes(), element.encode(), "sha256").hex()

    def write_dictionaries(self) -> None:
        """One PM Dictionary a system."""
        folder = self.directory / "dictionary"
        folder.mkdir(exist_ok=True)
        for system in {login.root.parent.name for login in self.logins().values()}:
            replace(folder / f"{system}.yaml", dictionary(self.shape, system))

    def write_inventory(self, host: str, port: int) -> None:
        """One YAML list a system."""
        folder = self.directory / "inventory"
        folder.mkdir(exist_ok=True)
        entries: dict[str, list[dict[str, object]]] = {}
        for name, login in self.logins().items():
            entry = {"name": name, "host": host, "port": port, "username": name, "password": login.password}
            entries.setdefault(login.root.parent.name, []).append(entry | {"directory": "/pm"})
        for system, of_system in entries.items():
            replace(folder / f"{system}.yaml", yaml.safe_dump(of_system, sort_keys=False).encode())

    def plant(self, samples: Path, system: str, element: str) -> None:
        """Put real files on an element of their own; their truth is the golden rows beside them."""
        folder = self.folder(system, element)
        folder.mkdir(parents=True, exist_ok=True)
        for sample in sorted(samples.iterdir()):
            if not PM_SUFFIXES & set(sample.suffixes):
                continue
            line = self._golden(samples.parent / "golden" / f"{sample.name}.jsonl", system, element, sample.name)
            if (system, element, sample.name) not in self.planted:
                self._add(line)
            if not is_there(folder, sample.name):
                replace(folder / sample.name, sample.read_bytes())

    def _golden(self, golden: Path, system: str, element: str, name: str) -> Planted:
        """A copy of the golden rows is kept, so that this folder alone knows the truth."""
        if not golden.exists():
            return Planted(system, element, name, "", 0)
        copy = Path("golden") / golden.name
        (self.directory / copy.parent).mkdir(exist_ok=True)
        shutil.copyfile(golden, self.directory / copy)
        return Planted(system, element, name, str(copy), sum(row.present for row in golden_rows(system, golden)))

    def take_up(self) -> int | None:
        """After a restart: complete the period a kill cut short. The end of the next one; None on the first start."""
        if not self.periods:
            return None
        last_s = max(self.periods)
        for line in self.written:
            if line.end_s == last_s or line.kind in {"late", "corrected"}:
                made = line.file()
                if not is_there(self.folder(line.system, line.element), made.name, len(made.packed)):
                    replace(self.folder(line.system, line.element) / made.name, made.packed)
        self.write_cycle(last_s)
        return last_s + self.shape.gp_s

    def write_cycle(self, end_s: int, stopped: Callable[[], bool] = lambda: False) -> None:
        """The files of one period, of all elements that have none yet; each is in the manifest before it is seen."""
        self._owe(end_s)
        unfinished: list[tuple[BinaryIO, bytes]] = []
        for delivery in [d for d, when in self.owed.items() if when == "at once" and d.end_s == end_s]:
            if stopped():
                break
            target, packed = self._deliver(delivery)
            if Random(f"{delivery.element}/{end_s}").random() >= self.in_place_share:  # noqa: S311
                replace(target, packed)
                continue
            unfinished.append(_begun(target, packed))
            if len(unfinished) == IN_PLACE_AT_ONCE:
                _finish(unfinished)
        _finish(unfinished)

    def follow_up(self) -> None:
        """What comes later: late files, and corrections of files that were collected."""
        for delivery, when in list(self.owed.items()):
            if when == "late" and self.clock() > delivery.end_s + self.late_s + 1:
                replace(*self._deliver(delivery))
            if when == "when collected" and self._collected(delivery):
                replace(*self._deliver(delivery))

    def _owe(self, end_s: int) -> None:
        """What is to be written of a period, and is not in the manifest yet."""
        there = {Delivery(line.system, line.element, end_s, line.kind) for line in self.written if line.end_s == end_s}
        for system, many in self.systems.items():
            for number, (_, element) in enumerate((s, e) for s, e in self.names() if s == system):
                anomaly = anomaly_of(self.anomalies, number, many, end_s // self.shape.gp_s)
                for kind, when in deliveries(anomaly).items():
                    delivery = Delivery(system, element, end_s, kind)
                    if delivery not in there:
                        self.owed[delivery] = when

    def _deliver(self, delivery: Delivery) -> tuple[Path, bytes]:
        """Where it is to be written, and what, once it is in the manifest."""
        made = pm_file(self.shape, delivery.system, delivery.element, delivery.end_s, delivery.kind)
        self._add(Written.of(made, self.clock()))
        self.owed.pop(delivery, None)
        return self.folder(delivery.system, delivery.element) / made.name, made.packed

    def _collected(self, delivery: Delivery) -> bool:
        """Whether the file of that name was moved away."""
        name = pm_file(self.shape, delivery.system, delivery.element, delivery.end_s).name
        first = Delivery(delivery.system, delivery.element, delivery.end_s, "")
        return first not in self.owed and not (self.folder(delivery.system, delivery.element) / name).exists()

    def _add(self, line: Line) -> None:
        self.manifest.add(line)
        self._count(line)

    def _count(self, line: Line) -> None:
        self.files += 1
        self.values += line.values
        if isinstance(line, Planted):
            self.planted.add((line.system, line.element, line.name))
            return
        if line.end_s not in self.periods and not self.anomalies:
            self.written.clear()
        self.periods.add(line.end_s)
        self.written.append(line)

    def tell(self, *, over: bool) -> None:
        """How much was written so far, and whether that is all; of anomalies also what is to be counted."""
        if self.anomalies:
            answered = [asdict(answer) for answer in answers(self.written, self._by_system(), self.late_s)]
            replace(self.directory / "answers.json", json.dumps(answered).encode())
        told = {"cycles": self.cycles, "files": self.files, "values": self.values, "over": over}
        replace(self.directory / "written.json", json.dumps(told).encode())

    def _by_system(self) -> dict[str, list[str]]:
        """The elements of the inventory."""
        elements: dict[str, list[str]] = {}
        for login in self.logins().values():
            elements.setdefault(login.root.parent.name, []).append(login.root.name)
        return elements


def _begun(target: Path, content: bytes) -> tuple[BinaryIO, bytes]:
    """As some elements do: under its own name from the first byte on."""
    file = target.open("wb")
    half = len(content) // 2
    file.write(content[:half])
    file.flush()
    return file, content[half:]


def _finish(unfinished: list[tuple[BinaryIO, bytes]]) -> None:
    if unfinished:
        sleep(IN_PLACE_PAUSE_S)
    for file, rest in unfinished:
        with file:
            file.write(rest)
    unfinished.clear()
