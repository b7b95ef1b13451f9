"""What goes wrong in a network, planted on purpose, and what a collector must count of it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tools.simulator.truth import Written

Anomaly = Literal["late", "duplicate", "missing", "renamed", "corrupt", "suspect", "corrected"]
"""Of an element's file of one period.

late       it comes long after the period
duplicate  it is there twice, the second time under the name of a second file (_-_2)
missing    it never comes
renamed    its name tells neither element nor period
corrupt    it ends in the middle
suspect    all its rows are flagged
corrected  it comes again, with other values, when the first one was collected
"""
ANOMALIES: tuple[Anomaly, ...] = get_args(Anomaly)
When = Literal["at once", "late", "when collected"]


def deliveries(anomaly: Anomaly | None) -> Mapping[str, When]:
    """What is written for one element and period: the kinds of `generate.pm_file`, and when."""
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
    """Each anomaly on one element a period, on another one each time.

    >>> [anomaly_of(("late", "missing"), number, 3, period=7) for number in range(3)]
    [None, 'late', 'missing']

    Args:
        planted: which ones.
        number: of the element, from 0.
        elements: how many the system has.
        period: its number.
    """
    turn = (number - period) % elements
    return planted[turn] if turn < len(planted) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is to be counted of one system and period once all is collected; named as `CycleFigures` does."""

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


def answers(lines: Iterable[Written], elements: Mapping[str, Sequence[str]], late_s: float) -> list[Answer]:
    """By system and period.

    Args:
        lines: of the manifest.
        elements: system -> the names in its inventory.
        late_s: a file is late when it was written so long after the end of its period.
    """
    cycles: dict[tuple[str, int], list[Written]] = {}
    for line in lines:
        cycles.setdefault((line.system, line.end_s), []).append(line)
    return [_answer(files, elements[system], late_s) for (system, _), files in sorted(cycles.items())]


def _answer(files: Sequence[Written], elements: Sequence[str], late_s: float) -> Answer:
    first, error = files[0], sum(file.kind == "corrupt" for file in files)
    return Answer(
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
