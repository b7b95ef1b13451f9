"""The elements' folders: what they write there every cycle, and the inventory that names them."""

import hmac
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import sleep
from typing import BinaryIO

import yaml

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


@dataclass
class Elements:
    """All elements of a simulator's folder; what an earlier run left there is counted at once."""

    directory: Path
    systems: Mapping[str, int]
    """System -> number of its elements."""
    shape: Shape
    in_place_share: float = 0.1
    """Of files written slowly, and seen half-written."""
    cycles: int = field(default=0, init=False)
    files: int = field(default=0, init=False)
    values: int = field(default=0, init=False)
    last: list[Written] = field(default_factory=list, init=False)
    """Lines of the last period."""
    planted: set[tuple[str, str, str]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.manifest = Manifest(self.directory)
        self.manifest.mend()
        for line in self.manifest.lines():
            self._count(line)
        for system, element in self.names():
            self.folder(system, element).mkdir(parents=True, exist_ok=True)

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
        if not self.last:
            return None
        for line in list(self.last):
            made = line.file()
            packed = made.packed
            if not is_there(self.folder(line.system, line.element), made.name, len(packed)):
                replace(self.folder(line.system, line.element) / made.name, packed)
        last_s = self.last[0].end_s
        self.write_cycle(last_s)
        return last_s + self.shape.gp_s

    def write_cycle(self, end_s: int, stopped: Callable[[], bool] = lambda: False) -> None:
        """The files of one period, of all elements that have none yet; each is in the manifest before it is seen."""
        written = {(line.system, line.element) for line in self.last if line.end_s == end_s}
        unfinished: list[tuple[BinaryIO, bytes]] = []
        for system, element in self.names():
            if (system, element) in written:
                continue
            if stopped():
                break
            made = pm_file(self.shape, system, element, end_s)
            self._add(Written(system, element, end_s, self.shape, made.values))
            target, packed = self.folder(system, element) / made.name, made.packed
            if Random(f"{element}/{end_s}").random() >= self.in_place_share:  # noqa: S311
                replace(target, packed)
                continue
            unfinished.append(_begun(target, packed))
            if len(unfinished) == IN_PLACE_AT_ONCE:
                _finish(unfinished)
        _finish(unfinished)

    def _add(self, line: Line) -> None:
        self.manifest.add(line)
        self._count(line)

    def _count(self, line: Line) -> None:
        self.files += 1
        self.values += line.values
        if isinstance(line, Planted):
            self.planted.add((line.system, line.element, line.name))
            return
        if not self.last or self.last[0].end_s != line.end_s:
            self.cycles += 1
            self.last = []
        self.last.append(line)

    def tell(self, *, over: bool) -> None:
        """How much was written so far, and whether that is all."""
        told = {"cycles": self.cycles, "files": self.files, "values": self.values, "over": over}
        replace(self.directory / "written.json", json.dumps(told).encode())


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
