"""Waits until all is done after the last fault, then compares everything that pmflow says and stored with the truth."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from shared.cycle_figures import CycleFigures
from shared.errors import Unreachable
from shared.kafka.record import KafkaFailure
from shared.messages import FileStatus
from shared.settings import Settings
from shared.topics import FILES_STATUS
from tests.chaos.load import written_files
from tools.cli.operate import cycles, errors, ledger, quarantine, verify
from tools.simulator.anomalies import ExpectedFigures
from tools.simulator.truth import Written

FINISHED = frozenset({"done", "error"})
MOST_EXAMPLES = 5
_Found = TypeVar("_Found")


@dataclass
class Finished:
    """The state of everything at the end of a run."""

    problems: list[str] = field(default_factory=list)
    """All that is not as it must be; empty: the run is right."""
    files: dict[str, int] = field(default_factory=dict)
    """Number of files by stage."""
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    """Comparison of the values, by sink and system."""
    cycles: int = 0
    set_aside: dict[str, int] = field(default_factory=dict)
    """Number of files and values that were set aside, by reason."""
    returned: int = 0
    """Number of stored files that lie on their elements because they were away when they were to be moved."""
    caught_up_s: float = 0.0
    """Time from the end of the load until every file was finished."""
    finished_s: dict[str, tuple[int, float]] = field(default_factory=dict)
    """File -> the time at which it was written, and that at which it was finished."""


def judge(settings: Settings, simulator: Path, vanished: Collection[Path], within_s: float) -> Finished:
    """Returns the state at the end, with all problems.

    Args:
        settings: settings that name the servers.
        simulator: folder of the load.
        vanished: files that were away from their elements for a while.
        within_s: time until every file must be finished.
    """
    written = written_files(simulator)
    found, began_s = Finished(), monotonic()
    wanted = Counter("error" if line.kind == "corrupt" else "done" for line in written)
    files = _when(lambda: _files(settings), lambda files: Counter(f.stage for f in files) == wanted, within_s)
    found.caught_up_s = monotonic() - began_s
    found.files = dict(Counter(file.stage for file in files))
    found.problems += file_problems(files, written)
    left = left_files(simulator)
    found.returned = sum(file in vanished for file in left)
    found.problems += [f"left on its element: {file.relative_to(simulator)}" for file in left if file not in vanished]
    for outcome in verify.settled_outcomes(settings, simulator, within_s=60.0):
        found.outcomes.append(asdict(outcome))
        if not outcome.right or not outcome.expected:
            found.problems.append(f"values: {outcome}")
    answers = json.loads((simulator / "answers.json").read_text())
    told = _when(lambda: cycles.read_cycles(settings.kafka), lambda told: not [*cycle_problems(told, answers)], 60.0)
    found.cycles = len(told)
    found.problems += islice(cycle_problems(told, answers), MOST_EXAMPLES)
    found.set_aside = reasons_set_aside(settings)
    found.finished_s = finish_times(settings)
    return found


def _when(read: Callable[[], _Found], is_right: Callable[[_Found], bool], within_s: float) -> _Found:
    """Reads until what was read is right or the time is over; returns the last that was read.

    Raises:
        Unreachable: Kafka does not answer when the time is over.
        KafkaFailure: see above.
    """
    until_s = monotonic() + within_s
    while True:
        try:
            found = read()
        except (Unreachable, KafkaFailure):  # it still recovers
            if monotonic() > until_s:
                raise
            continue
        if is_right(found) or monotonic() > until_s:
            return found


def _files(settings: Settings) -> Collection[FileStatus]:
    return ledger.read_ledger(settings.kafka).files.values()


def file_problems(files: Iterable[FileStatus], written: Sequence[Written]) -> Iterator[str]:
    """Yields files that are stuck, missing in the ledger, in it without having been written, or wrongly set aside."""
    wanted = Counter((line.system, line.element, _end(line.kind)) for line in written)
    corrupt = {(line.element, line.end_s) for line in written if line.kind == "corrupt"}
    found: Counter[tuple[str, str, str]] = Counter()
    for file in files:
        if file.stage not in FINISHED:
            yield f"stuck: {file.path} of {file.endpoint} is {file.stage} since {file.at_s:.0f}: {file.reason}"
        if file.stage == "error" and (file.endpoint, file.end_s) not in corrupt:
            yield f"wrongly in error/: {file.path} of {file.endpoint}: {file.reason}"
        found[file.system, file.endpoint, file.stage] += 1
    for key in sorted(wanted.keys() | found.keys()):
        if wanted[key] != found[key] and key[2] in FINISHED:
            yield f"{key[0]} {key[1]}: {found[key]} files {key[2]}, expected {wanted[key]}"


def _end(kind: str) -> str:
    return "error" if kind == "corrupt" else "done"


def left_files(simulator: Path) -> list[Path]:
    """Returns the files that still lie where their element wrote them."""
    return sorted(path for path in (simulator / "files").glob("*/*/pm/*") if path.is_file())


def cycle_problems(told: Iterable[CycleFigures], answers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the cycles whose figures differ from the known answers, with the figures that do."""
    by_cycle = {(figures.system, figures.end_s): figures for figures in told}
    for answer in answers:
        figures = by_cycle.pop((answer["system"], answer["end_s"]), None)
        if figures is None:
            yield f"cycle {answer['system']} {answer['end_s']}: not reported"
        elif wrong := _wrong_figures(figures, answer):
            yield f"cycle {answer['system']} {answer['end_s']}: {wrong}"
    for system, end_s in by_cycle:
        yield f"cycle {system} {end_s}: reported, but no file has this period"


def _wrong_figures(figures: CycleFigures, answer: Mapping[str, Any]) -> str:
    told = {part.name: getattr(figures, part.name) for part in fields(ExpectedFigures)}
    wrong = {name: (value, answer[name]) for name, value in told.items() if value != answer[name]}
    wrong |= {f"stored in {s}": (n, figures.parsed) for s, n in figures.stored.items() if n != figures.parsed}
    wrong |= {f"values in {s}": (n, figures.values) for s, n in figures.values_stored.items() if n != figures.values}
    return ", ".join(f"{name} is {found}, expected {expected}" for name, (found, expected) in wrong.items())


def reasons_set_aside(settings: Settings) -> dict[str, int]:
    """Returns how many files, values and records were set aside for each reason, numbers in the reason left out."""
    found = ledger.read_ledger(settings.kafka)
    unknown = quarantine.quarantined_items((), quarantine.read_counters_letters(settings))
    batches = errors.not_in_ledger(unknown, found.set_aside)
    refused = quarantine.records_set_aside(found.files, quarantine.read_letters(settings))
    records = errors.record_failures([*batches, *refused])
    failures = [*errors.failures(found.files.values(), found.set_aside.values()), *records]
    return dict(Counter(errors.generalized(failure.reason) for failure in failures).most_common())


def finish_times(settings: Settings) -> dict[str, tuple[int, float]]:
    """Returns for each file when it was written and when it was finished; of several endings the first."""
    found: dict[str, tuple[int, float]] = {}
    for record, entry in ledger.ledger_records(ledger.topic_records(settings.kafka, FILES_STATUS)):
        if isinstance(entry, FileStatus) and entry.stage in FINISHED:
            found.setdefault(entry.file_id, (entry.mtime_s, record.timestamp_s))
    return found
