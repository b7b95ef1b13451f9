"""The manifest: it lists every file before readers can see it, and the true values can be regenerated from it.

A line contains the parameters of a generated file or, for a planted real file, the path of its golden rows.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tools.simulator.generate import PmFile, Shape, pm_file
from tools.simulator.truth_row import TruthRow

__all__ = ["Manifest", "Planted", "TruthRow", "Written", "expected_rows", "golden_rows"]


@dataclass(frozen=True, slots=True)
class Written:
    """The manifest line of a generated file."""

    system: str
    element: str
    end_s: int
    shape: Shape
    values: int
    """Number of values. This and the following counts are stored so that the file need not be generated again."""
    kind: str = ""
    """See `generate.pm_file`."""
    rows: int = 0
    suspect: int = 0
    size: int = 0
    written_s: float = 0.0

    @classmethod
    def of(cls, made: PmFile, written_s: float) -> "Written":
        """Returns the line for a file that is about to be written."""
        rows, suspect = len(made.rows), sum(row.suspect for row in made.rows)
        sizes = made.values, made.kind, rows, suspect, len(made.packed)
        return cls(made.system, made.element, made.end_s, made.shape, *sizes, written_s)

    def file(self) -> PmFile:
        """Generates the same file again."""
        return pm_file(self.shape, self.system, self.element, self.end_s, self.kind)


@dataclass(frozen=True, slots=True)
class Planted:
    """The manifest line of a planted real file."""

    system: str
    element: str
    name: str
    golden: str
    """Path of its golden rows in the simulator's folder; empty if they are unknown."""
    values: int


ManifestLine = Written | Planted


class Manifest:
    """The file `truth.jsonl` in a simulator's folder: one writer, any number of concurrent readers."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "truth.jsonl"

    def drop_partial_line(self) -> None:
        """Drops an incomplete last line, left by a killed writer; its file was never visible. Called by the writer."""
        if self.path.exists():
            whole = self.path.read_bytes().rfind(b"\n") + 1
            os.truncate(self.path, whole)

    def add(self, line: ManifestLine) -> None:
        """Appends a line in one write, so that only the last line can be incomplete. It survives a kill at once."""
        text = orjson.dumps(asdict(line), option=orjson.OPT_APPEND_NEWLINE)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(descriptor, text) != len(text):
                raise OSError(f"{self.path}: cannot write a whole line; check the free disk space")
        finally:
            os.close(descriptor)

    def lines(self) -> Iterator[ManifestLine]:
        """Yields all complete lines; a line that is still being written is skipped."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for text in file:
                if text.endswith(b"\n"):
                    yield _line(orjson.loads(text))


def _line(found: dict[str, Any]) -> ManifestLine:
    if "shape" in found:
        return Written(**{**found, "shape": Shape(**found["shape"])})
    return Planted(**found)


def expected_rows(directory: Path) -> Iterator[TruthRow]:
    """Yields every row that must be stored for all files so far."""
    for line in Manifest(directory).lines():
        if isinstance(line, Written):
            yield from line.file().rows
        elif line.golden:
            yield from golden_rows(line.system, directory / line.golden)


def golden_rows(system: str, golden: Path) -> Iterator[TruthRow]:
    """Yields the golden rows of a real file: one JSON object per line, with the fields of TruthRow except `system`."""
    with golden.open("rb") as file:
        for text in file:
            yield TruthRow(system=system, **orjson.loads(text))
