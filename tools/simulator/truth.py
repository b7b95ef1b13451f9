"""The truth: a manifest that names every file before it can be seen, and from which its values come back.

A line holds what a file was made from, or, for a planted real file, where its golden rows lie.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tools.simulator.generate import PmFile, Shape, pm_file
from tools.simulator.truth_row import TruthRow

__all__ = ["Manifest", "Planted", "TruthRow", "Written", "expected", "golden_rows"]


@dataclass(frozen=True, slots=True)
class Written:
    """A line of a generated file."""

    system: str
    element: str
    end_s: int
    shape: Shape
    values: int
    """How many the file has: this and what follows is known without making it again."""
    kind: str = ""
    """See `generate.pm_file`."""
    rows: int = 0
    suspect: int = 0
    size: int = 0
    written_s: float = 0.0

    @classmethod
    def of(cls, made: PmFile, written_s: float) -> "Written":
        """The line of a file that is about to be written."""
        rows, suspect = len(made.rows), sum(row.suspect for row in made.rows)
        sizes = made.values, made.kind, rows, suspect, len(made.packed)
        return cls(made.system, made.element, made.end_s, made.shape, *sizes, written_s)

    def file(self) -> PmFile:
        """The same file again."""
        return pm_file(self.shape, self.system, self.element, self.end_s, self.kind)


@dataclass(frozen=True, slots=True)
class Planted:
    """A line of a real file."""

    system: str
    element: str
    name: str
    golden: str
    """Its rows, a file below the simulator's folder; empty when nobody knows them."""
    values: int


Line = Written | Planted


class Manifest:
    """`truth.jsonl` of a simulator's folder: one writer, any number of readers at the same time."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "truth.jsonl"

    def mend(self) -> None:
        """Take away the half line a killed writer left: its file was never seen. For the writer, before it writes."""
        if self.path.exists():
            whole = self.path.read_bytes().rfind(b"\n") + 1
            os.truncate(self.path, whole)

    def add(self, line: Line) -> None:
        """In one piece, so that a reader sees whole lines but for the last; it outlives this process at once."""
        text = orjson.dumps(asdict(line), option=orjson.OPT_APPEND_NEWLINE)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(descriptor, text) != len(text):
                raise OSError(f"{self.path}: no room for a line")
        finally:
            os.close(descriptor)

    def lines(self) -> Iterator[Line]:
        """All so far; a line that is still being written is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for text in file:
                if text.endswith(b"\n"):
                    yield _line(orjson.loads(text))


def _line(found: dict[str, Any]) -> Line:
    if "shape" in found:
        return Written(**{**found, "shape": Shape(**found["shape"])})
    return Planted(**found)


def expected(directory: Path) -> Iterator[TruthRow]:
    """Every row that must be stored of all files so far."""
    for line in Manifest(directory).lines():
        if isinstance(line, Written):
            yield from line.file().rows
        elif line.golden:
            yield from golden_rows(line.system, directory / line.golden)


def golden_rows(system: str, golden: Path) -> Iterator[TruthRow]:
    """The rows of a real file: one JSON object a line, named as TruthRow names them, without the system."""
    with golden.open("rb") as file:
        for text in file:
            yield TruthRow(system=system, **orjson.loads(text))
