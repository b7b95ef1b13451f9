"""The folders of the simulated elements: the files written in each cycle, and the inventory."""

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

from tools.simulator.addresses import ServerAddress
from tools.simulator.anomalies import Anomaly, DeliveryTime, anomaly_of, deliveries, expected_figures
from tools.simulator.dictionary import dictionary
from tools.simulator.files import is_there, replace, save_secret
from tools.simulator.generate import Shape, pm_file
from tools.simulator.truth import Manifest, ManifestLine, Planted, Written, golden_rows

PM_SUFFIXES = frozenset((".xml", ".gz", ".csv", ".zip", ".tar"))
IN_PLACE_PAUSE_S = 0.2
"""Pause between the two halves of a file that is written in place."""
IN_PLACE_AT_ONCE = 100
"""Files that share one pause."""


@dataclass(frozen=True, slots=True)
class Login:
    """The SFTP login of an element, whose root directory makes it look like a separate host."""

    root: Path
    password: str


@dataclass(frozen=True, slots=True)
class WrittenCounts:
    """The content of written.json."""

    cycles: int
    files: int
    values: int
    over: bool
    """Set when all files are written."""


class Delivery(NamedTuple):
    """A file to write."""

    system: str
    element: str
    end_s: int
    kind: str
    """See `generate.pm_file`."""


@dataclass
class SimulatedElements:
    """All elements in a simulator folder. On creation, the files of earlier runs are counted."""

    directory: Path
    systems: Mapping[str, int]
    """Number of elements by system."""
    shape: Shape
    in_place_share: float = 0.1
    """Share of files that are written slowly in place, so that readers can see them incomplete."""
    anomalies: Sequence[Anomaly] = ()
    """Anomalies planted in each period."""
    late_s: float = 900.0
    """Delay of late files after the end of their period."""
    clock: Callable[[], float] = time
    """Returns the seconds since 1970."""
    periods: set[int] = field(default_factory=set, init=False)
    """Ends of the periods so far."""
    files: int = field(default=0, init=False)
    values: int = field(default=0, init=False)
    written: list[Written] = field(default_factory=list, init=False)
    """Manifest lines of the last period; of all periods if anomalies are planted."""
    pending: dict[Delivery, DeliveryTime] = field(default_factory=dict, init=False)
    """Files of the periods so far that are still to be written."""
    planted: set[tuple[str, str, str]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.manifest = Manifest(self.directory)
        self.manifest.drop_partial_line()
        for line in self.manifest.lines():
            self._count(line)
        for system, element in self.names():
            self.folder(system, element).mkdir(parents=True, exist_ok=True)
        for end_s in self.periods:
            self._add_pending(end_s)
        for delivery in [d for d, when in self.pending.items() if when == "at once" and d.end_s < max(self.periods)]:
            del self.pending[delivery]  # already written, or the element was added just now

    @property
    def cycles(self) -> int:
        """Number of periods so far."""
        return len(self.periods)

    def names(self) -> Iterator[tuple[str, str]]:
        """Yields system and name of every element that writes files."""
        for system, many in self.systems.items():
            for number in range(1, many + 1):
                yield system, f"{system}-{number:03}"

    def folder(self, system: str, element: str) -> Path:
        """Returns the folder of an element. Its login sees the parent folder as root."""
        return self.directory / "files" / system / element / "pm"

    def logins(self) -> dict[str, Login]:
        """Returns the logins by user name, which is the element name."""
        return {
            root.name: Login(root, self._password(root.name)) for root in sorted((self.directory / "files").glob("*/*"))
        }

    def _password(self, element: str) -> str:
        """Returns the password of an element, derived from the secret of this folder."""
        file = self.directory / "secret"
        if not file.exists():
            save_secret(file, secrets.token_bytes())
        return hmac.digest(file.read_bytes(), element.encode(), "sha256").hex()

    def write_dictionaries(self) -> None:
        """Writes one PM Dictionary per system."""
        folder = self.directory / "dictionary"
        folder.mkdir(exist_ok=True)
        for system in {login.root.parent.name for login in self.logins().values()}:
            replace(folder / f"{system}.yaml", dictionary(self.shape, system))

    def write_inventory(self, place: ServerAddress) -> None:
        """Writes one inventory file (a YAML list) per system; the elements' numbers decide on their hosts."""
        folder = self.directory / "inventory"
        folder.mkdir(exist_ok=True)
        entries: dict[str, list[dict[str, object]]] = {}
        for number, (name, login) in enumerate(self.logins().items()):
            at = {"host": place.host(number), "port": place.port}
            entry = {"name": name, **at, "username": name, "password": login.password}
            entries.setdefault(login.root.parent.name, []).append(entry | {"directory": "/pm"})
        for system, of_system in entries.items():
            save_secret(folder / f"{system}.yaml", yaml.safe_dump(of_system, sort_keys=False).encode())

    def plant(self, samples: Path, system: str, element: str) -> None:
        """Copies real files to a separate element. Their expected rows are the golden files next to the samples."""
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
        """Copies the golden rows into this folder, so that it is self-contained, and returns the manifest line."""
        if not golden.exists():
            return Planted(system, element, name, "", 0)
        copy = Path("golden") / golden.name
        (self.directory / copy.parent).mkdir(exist_ok=True)
        shutil.copyfile(golden, self.directory / copy)
        return Planted(system, element, name, str(copy), sum(row.present for row in golden_rows(system, golden)))

    def resume(self) -> int | None:
        """Completes the period that a kill interrupted. Returns the end of the next period; None at the first start."""
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
        """Writes the pending files of one period. Each file is in the manifest before readers can see it."""
        self._add_pending(end_s)
        unfinished: list[tuple[BinaryIO, bytes]] = []
        for delivery in [d for d, when in self.pending.items() if when == "at once" and d.end_s == end_s]:
            if stopped():
                break
            target, packed = self._deliver(delivery)
            if Random(f"{delivery.element}/{end_s}").random() >= self.in_place_share:  # noqa: S311
                replace(target, packed)
                continue
            unfinished.append(_start_in_place(target, packed))
            if len(unfinished) == IN_PLACE_AT_ONCE:
                _finish(unfinished)
        _finish(unfinished)

    def follow_up(self) -> None:
        """Writes files that are due later: late files, and corrections of files that were collected."""
        for delivery, when in list(self.pending.items()):
            if when == "late" and self.clock() > delivery.end_s + self.late_s + 1:
                replace(*self._deliver(delivery))
            if when == "when collected" and self._collected(delivery):
                replace(*self._deliver(delivery))

    def _add_pending(self, end_s: int) -> None:
        """Adds the files of a period that are not in the manifest yet to the pending ones."""
        there = {Delivery(line.system, line.element, end_s, line.kind) for line in self.written if line.end_s == end_s}
        for system, many in self.systems.items():
            for number, (_, element) in enumerate((s, e) for s, e in self.names() if s == system):
                anomaly = anomaly_of(self.anomalies, number, many, end_s // self.shape.gp_s)
                for kind, when in deliveries(anomaly).items():
                    delivery = Delivery(system, element, end_s, kind)
                    if delivery not in there:
                        self.pending[delivery] = when

    def _deliver(self, delivery: Delivery) -> tuple[Path, bytes]:
        """Adds a file to the manifest; returns its path and content for the caller to write."""
        made = pm_file(self.shape, delivery.system, delivery.element, delivery.end_s, delivery.kind)
        self._add(Written.of(made, self.clock()))
        self.pending.pop(delivery, None)
        return self.folder(delivery.system, delivery.element) / made.name, made.packed

    def _collected(self, delivery: Delivery) -> bool:
        """Tells whether the collector has moved the first file of this element and period away."""
        name = pm_file(self.shape, delivery.system, delivery.element, delivery.end_s).name
        first = Delivery(delivery.system, delivery.element, delivery.end_s, "")
        return first not in self.pending and not (self.folder(delivery.system, delivery.element) / name).exists()

    def _add(self, line: ManifestLine) -> None:
        self.manifest.add(line)
        self._count(line)

    def _count(self, line: ManifestLine) -> None:
        self.files += 1
        self.values += line.values
        if isinstance(line, Planted):
            self.planted.add((line.system, line.element, line.name))
            return
        if line.end_s not in self.periods and not self.anomalies:
            self.written.clear()
        self.periods.add(line.end_s)
        self.written.append(line)

    def write_progress(self, *, over: bool) -> None:
        """Writes the counts so far to written.json, and with anomalies the expected figures to answers.json."""
        if self.anomalies:
            figures = [asdict(cycle) for cycle in expected_figures(self.written, self._inventory_names(), self.late_s)]
            replace(self.directory / "answers.json", json.dumps(figures).encode())
        counts = WrittenCounts(self.cycles, self.files, self.values, over)
        replace(self.directory / "written.json", json.dumps(asdict(counts)).encode())

    def _inventory_names(self) -> dict[str, list[str]]:
        """Returns the element names in the inventory by system."""
        elements: dict[str, list[str]] = {}
        for login in self.logins().values():
            elements.setdefault(login.root.parent.name, []).append(login.root.name)
        return elements


def _start_in_place(target: Path, content: bytes) -> tuple[BinaryIO, bytes]:
    """Writes the first half of a file in place, as some elements do. Returns the open file and the second half."""
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
