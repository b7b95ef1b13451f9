"""The truth: a manifest that names every file before it can be seen, and from which its values come back.

A line holds what a file was made from, or, for a planted real file, where its golden rows lie.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from tools.simulator.generate import Shape, TruthRow, pm_file

__all__ = ["Manifest", "TruthRow", "expected"]


@dataclass(frozen=True, slots=True)
class Written:
    """A line of a generated file."""

    system: str
    element: str
    end_s: int
    shape: Shape


class Manifest:
    """`truth.jsonl` of a simulator's folder."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "truth.jsonl"

    def add(self, *lines: Written) -> None:
        """Durable before the files are visible; whole lines in one write."""
        self._append(b"".join(orjson.dumps(asdict(line), option=orjson.OPT_APPEND_NEWLINE) for line in lines))

    def add_golden(self, system: str, golden: Path) -> None:
        self._append(orjson.dumps({"system": system, "golden": str(golden)}, option=orjson.OPT_APPEND_NEWLINE))

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, lines)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lines(self) -> Iterator[Written | tuple[str, Path]]:
        """Generated files, and (system, golden) of planted ones; a line that is still being written is left out."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return
            found = orjson.loads(line)
            if "golden" in found:
                yield found["system"], Path(found["golden"])
            else:
                yield Written(found["system"], found["element"], found["end_s"], Shape(**found["shape"]))


def expected(directory: Path) -> Iterator[TruthRow]:
    """Every row that must be stored of all files so far."""
    for line in Manifest(directory).lines():
        if isinstance(line, Written):
            yield from pm_file(line.shape, line.system, line.element, line.end_s).rows
        else:
            yield from golden_rows(*line)


def golden_rows(system: str, golden: Path) -> Iterator[TruthRow]:
    """The rows beside a real file: one JSON object a line."""
    for line in golden.read_bytes().splitlines():
        row = orjson.loads(line)
        yield TruthRow(
            system,
            row["group"],
            row["element"],
            row["object"],
            row["end_s"],
            row["gp_s"],
            row["suspect"],
            row["values"],
        )
