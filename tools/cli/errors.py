"""`pmflow errors`: files that did not come through, grouped by reason and element, with a sample."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from shared.messages import FileStatus
from shared.settings import load
from tools.cli import ledger

STAGES = frozenset({"failed", "error", "lost", "postponed"})
VARYING = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one element that failed for alike reasons; the sample is the newest."""

    system: str
    element: str
    reason: str
    files: int
    first_s: float
    last_s: float
    sample: FileStatus


def errors() -> None:
    """Show what went wrong, how often, since when, and one file of each kind."""
    Console().print(table(grouped(ledger.read(load().kafka.bootstrap_servers).files.values())))


def alike(reason: str) -> str:
    """A reason without what differs from file to file.

    >>> alike("line 12, column 7: no element found")
    'line *, column *: no element found'
    """
    return VARYING.sub("*", reason)


def grouped(files: Iterable[FileStatus]) -> list[Group]:
    """The most frequent first; values that were set aside count too, though their file landed."""
    groups: dict[tuple[str, str, str], list[FileStatus]] = {}
    for file in files:
        if file.stage in STAGES or file.quarantined:
            groups.setdefault((file.system, file.element, alike(file.reason)), []).append(file)
    found = []
    for key, members in groups.items():
        members.sort(key=lambda file: file.at_s)
        found.append(Group(*key, len(members), members[0].at_s, members[-1].at_s, members[-1]))
    return sorted(found, key=lambda group: (-group.files, group.system, group.element, group.reason))


def table(groups: Iterable[Group]) -> Table:
    """A row a group."""
    shown = Table("system", "element", "files", "first seen", "last seen", "reason", "sample", title="errors")
    for group in groups:
        seen = (f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}" for at_s in (group.first_s, group.last_s))
        sample = f"{group.sample.file_id} {group.sample.path} ({group.sample.stage})"
        shown.add_row(group.system, group.element, f"{group.files:,}", *seen, group.reason, sample)
    return shown
