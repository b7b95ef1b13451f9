"""Planted anomalies, as they occur in real networks, and the figures a collector must report for them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tools.simulator.truth import Written

Anomaly = Literal["late", "duplicate", "missing", "renamed", "corrupt", "suspect", "corrected"]
"""An anomaly of the file that an element writes for one period.

late       the file appears long after the period
duplicate  the file appears twice, the second time with the suffix of a second file (_-_2)
missing    the file never appears
renamed    the file name contains neither element nor period
corrupt    the file is truncated in the middle
suspect    all rows are flagged as suspect
corrected  the file appears again, with other values, after the first one was collected
"""
ANOMALIES: tuple[Anomaly, ...] = get_args(Anomaly)
DeliveryTime = Literal["at once", "late", "when collected"]


def deliveries(anomaly: Anomaly | None) -> Mapping[str, DeliveryTime]:
    """Returns the files to write for one element and period: the kind (see `generate.pm_file`) and when it appears."""
    match anomaly:
        case None:
            return {"": "at once"}
        case "missing":
            return {}
        case "late":
            return {"late": "late"}
        case "duplicate":
            return {"": "at once", "duplicate": "at once"}
        case "corrected":
            return {"": "at once", "corrected": "when collected"}
        case kind:
            return {kind: "at once"}


def anomaly_of(planted: Sequence[Anomaly], number: int, elements: int, period: int) -> Anomaly | None:
    """Returns the anomaly of an element in a period. Each anomaly affects one element per period, each time another.

    >>> [anomaly_of(("late", "missing"), number, 3, period=7) for number in range(3)]
    [None, 'late', 'missing']

    Args:
        planted: the anomalies to plant.
        number: number of the element, from 0.
        elements: number of elements in the system.
        period: number of the period.
    """
    turn = (number - period) % elements
    return planted[turn] if turn < len(planted) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFigures:
    """The correct figures of one system and period once all files are collected, named as in `CycleFigures`."""

    system: str
    end_s: int
    expected: int
    missing: list[str]
    elements: int
    found: int
    late: int
    fetched: int
    parsed: int
    done: int
    error: int
    bytes: int
    rows: int
    suspect: int
    values: int
    lost: int = 0
    postponed: int = 0
    quarantined: int = 0
    values_quarantined: int = 0
    values_dropped: int = 0


def expected_figures(
    lines: Iterable[Written], elements: Mapping[str, Sequence[str]], late_s: float
) -> list[ExpectedFigures]:
    """Returns the expected figures, sorted by system and period.

    Args:
        lines: the generated files in the manifest.
        elements: for each system the element names in its inventory.
        late_s: a file is late if it is written more than this time after the end of its period.
    """
    cycles: dict[tuple[str, int], list[Written]] = {}
    for line in lines:
        cycles.setdefault((line.system, line.end_s), []).append(line)
    return [_figures(files, elements[system], late_s) for (system, _), files in sorted(cycles.items())]


def _figures(files: Sequence[Written], elements: Sequence[str], late_s: float) -> ExpectedFigures:
    first, error = files[0], sum(file.kind == "corrupt" for file in files)
    return ExpectedFigures(
        system=first.system,
        end_s=first.end_s,
        expected=len(elements),
        missing=sorted(set(elements) - {file.element for file in files}),
        elements=len({file.element for file in files}),
        found=len(files),
        late=sum(file.written_s > file.end_s + late_s for file in files),
        fetched=len(files),
        parsed=len(files) - error,
        done=len(files) - error,
        error=error,
        bytes=sum(file.size for file in files),
        rows=sum(file.rows for file in files),
        suspect=sum(file.suspect for file in files),
        values=sum(file.values for file in files),
    )
