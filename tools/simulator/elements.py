"""The elements' folders: what they write there every cycle, and the inventory that names them."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import sleep

import yaml

from tools.simulator.generate import PmFile, Shape, pm_file
from tools.simulator.truth import Manifest, Written

PLANTED = "samples"
"""The element that real files are put on."""
IN_PLACE_PAUSE_S = 0.2


@dataclass
class Elements:
    """All elements of a simulator's folder."""

    directory: Path
    systems: Mapping[str, int]
    """System -> number of its elements."""
    shape: Shape
    in_place_share: float = 0.1
    files: int = 0
    values: int = 0
    manifest: Manifest = field(init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.manifest = Manifest(self.directory)
        for system, element in self.names():
            self.folder(system, element).mkdir(parents=True, exist_ok=True)

    def names(self) -> Iterator[tuple[str, str]]:
        for system, many in self.systems.items():
            for number in range(1, many + 1):
                yield system, f"{system}-{number:03}"

    def folder(self, system: str, element: str) -> Path:
        """Where an element writes; its login sees the parent as its root."""
        return self.directory / "files" / system / element / "pm"

    def password(self) -> str:
        """Of all logins of this folder, made once."""
        file = self.directory / "password"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe())
        return file.read_text()

    def roots(self) -> dict[str, Path]:
        """Login -> the folder that is its root."""
        return {folder.name: folder for folder in (self.directory / "files").glob("*/*")}

    def write_inventory(self, host: str, port: int) -> None:
        """One YAML list a system."""
        folder = self.directory / "inventory"
        folder.mkdir(exist_ok=True)
        for system in self.systems:
            login = {"host": host, "port": port, "password": self.password(), "directory": "/pm"}
            entries = [
                {"name": root.name, "username": root.name, **login}
                for root in sorted((self.directory / "files" / system).iterdir())
            ]
            _replace(folder / f"{system}.yaml", yaml.safe_dump(entries).encode())

    def plant(self, samples: Path, system: str) -> None:
        """Put real files on an element of their own; their truth is the golden rows beside them."""
        folder = self.folder(system, PLANTED)
        folder.mkdir(parents=True, exist_ok=True)
        for sample in sorted(samples.iterdir()):
            if not {".xml", ".gz", ".csv", ".zip", ".tar"} & set(sample.suffixes) or _exists(folder, sample.name):
                continue
            golden = samples.parent / "golden" / f"{sample.name}.jsonl"
            if golden.exists():
                self.manifest.add_golden(system, golden.resolve())
            shutil.copyfile(sample, folder / f"{sample.name}.part")
            (folder / f"{sample.name}.part").replace(folder / sample.name)
            self.files += 1

    def take_up(self) -> int | None:
        """After a restart: the last period that was written, with what a kill kept from being written of it."""
        written = [line for line in self.manifest.lines() if isinstance(line, Written)]
        self.files += len(written)
        last_s = max((line.end_s for line in written), default=None)
        for line in written:
            made = pm_file(line.shape, line.system, line.element, line.end_s)
            self.values += made.values
            if line.end_s == last_s and not self._is_whole(line, made):
                self._write(line.system, line.element, made, in_place=False)
        return last_s

    def _is_whole(self, line: Written, made: PmFile) -> bool:
        folder = self.folder(line.system, line.element)
        size = len(made.packed)
        places = [folder / place / made.name for place in ("", "done", "error")]
        return any(place.exists() and place.stat().st_size == size for place in places)

    def write_cycle(self, end_s: int) -> None:
        """Every element's file of one period."""
        self.manifest.add(*(Written(system, element, end_s, self.shape) for system, element in self.names()))
        for system, element in self.names():
            made = pm_file(self.shape, system, element, end_s)
            in_place = Random(f"{element}/{end_s}").random() < self.in_place_share  # noqa: S311
            self._write(system, element, made, in_place=in_place)
            self.files += 1
            self.values += made.values

    def _write(self, system: str, element: str, made: PmFile, *, in_place: bool) -> None:
        target, packed = self.folder(system, element) / made.name, made.packed
        if in_place:
            _slowly(target, (packed[: len(packed) // 2], packed[len(packed) // 2 :]))
        else:
            _replace(target, packed)

    def tell(self, cycles: int) -> None:
        """How much was written so far."""
        told = {"cycles": cycles, "files": self.files, "values": self.values}
        _replace(self.directory / "written.json", json.dumps(told).encode())


def _exists(folder: Path, name: str) -> bool:
    return any((folder / place / name).exists() for place in ("", "done", "error"))


def _replace(target: Path, content: bytes) -> None:
    """Under another name first: readers see nothing or all of it."""
    partial = target.with_name(f"{target.name}.part")
    partial.write_bytes(content)
    partial.replace(target)


def _slowly(target: Path, pieces: Sequence[bytes]) -> None:
    """As some elements do: under its own name from the first byte on."""
    with target.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            sleep(IN_PLACE_PAUSE_S)
