"""`pmflow errors`: failures of files and values, grouped by reason and element, each with a sample."""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.messages import FileStatus, SetAside, set_aside_key
from shared.topics import system_of
from shared.versions import content_digest
from tools.cli.operate import ledger
from tools.cli.operate.quarantine import (
    RECORD_LETTERS,
    QuarantinedItem,
    quarantined_items,
    read_counters_letters,
    read_letters,
    records_set_aside,
)
from tools.cli.operate.ready import load_ready
from tools.cli.output import OutputTable, show

FAILURE_STAGES = frozenset({"failed", "error", "lost", "postponed"})
VARYING_PART = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file, or some of its values, that could not be stored."""

    system: str
    element: str
    reason: str
    at_s: float
    file_id: str
    says: str
    """The file or dead letter to look at."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one element for similar reasons; the sample is the newest one."""

    system: str
    element: str
    reason: str
    many: int
    first_s: float
    last_s: float
    sample: Failure


def show_errors() -> None:
    """Show failed files, and values and records that were set aside: reason, how often, since when, and a sample."""
    settings = load_ready(*RECORD_LETTERS)
    found = ledger.read_ledger(settings.kafka)
    batches = not_in_ledger(quarantined_items((), read_counters_letters(settings)), found.set_aside)
    records = record_failures([*batches, *records_set_aside(found.files, read_letters(settings))])
    show(errors_table(grouped([*failures(found.files.values(), found.set_aside.values()), *records])))


def failures(files: Iterable[FileStatus], set_aside: Iterable[SetAside]) -> Iterator[Failure]:
    """Yields failed files, files that cannot be moved, files with quarantined values, and values a sink set aside."""
    for file in files:
        if file.moves_refused:
            reason, says = f"not moved: {file.not_moved}", f"{file.path} ({file.stage}, {file.moves_refused} attempts)"
            yield Failure(file.system, file.element, reason, file.at_s, file.file_id, says)
        if file.stage in FAILURE_STAGES or file.quarantined:
            says = f"{file.path} ({file.stage})"
            yield Failure(file.system, file.element, file.reason, file.at_s, file.file_id, says)
    for aside in set_aside:
        says = f"{aside.topic}/{aside.partition}/{aside.offset} ({aside.values} values not in {aside.sink})"
        yield Failure(system_of(aside.topic), aside.element, aside.reason, aside.at_s, aside.file_id, says)


def not_in_ledger(items: Iterable[QuarantinedItem], known: Container[str]) -> Iterator[QuarantinedItem]:
    """Yields the messages of counters that were set aside and are not in the ledger, as they name no file."""
    for item in items:
        if item.what == "batch" and set_aside_key(item.sink, item.file_id, content_digest(item.content)) not in known:
            yield item


def record_failures(items: Iterable[QuarantinedItem]) -> Iterator[Failure]:
    """Yields records that were set aside because they are invalid, or because the code failed on them."""
    for item in items:
        yield Failure(item.system, item.element, item.reason, item.at_s, item.file_id, f"{item.origin} ({item.what})")


def generalized(reason: str) -> str:
    """Returns a reason without the numbers that differ from file to file.

    >>> generalized("line 12, column 7: no element found")
    'line *, column *: no element found'
    """
    return VARYING_PART.sub("*", reason)


def grouped(found: Iterable[Failure]) -> list[FailureGroup]:
    """Returns groups of similar failures, the most frequent first."""
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in found:
        groups.setdefault((failure.system, failure.element, generalized(failure.reason)), []).append(failure)
    made = []
    for key, members in groups.items():
        members.sort(key=lambda failure: failure.at_s)
        made.append(FailureGroup(*key, len(members), members[0].at_s, members[-1].at_s, members[-1]))
    return sorted(made, key=lambda group: (-group.many, group.system, group.element, group.reason))


def errors_table(groups: Iterable[FailureGroup]) -> OutputTable:
    """Returns a table with one row per group."""
    shown = OutputTable("system", "element", "count", "first seen", "last seen", "reason", "sample", title="errors")
    for group in groups:
        seen = (f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}" for at_s in (group.first_s, group.last_s))
        sample = f"{group.sample.file_id} {group.sample.says}"
        shown.add_row(group.system, group.element, f"{group.many:,}", *seen, group.reason, sample)
    return shown
