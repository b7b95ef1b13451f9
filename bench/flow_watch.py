"""Follows the files of a burst in the ledger, and stops a measurement that cannot succeed."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from shared.kafka.consume import Consumer
from shared.ledger import decode_status
from shared.messages import BadMessage, FileStatus

GIVEN_UP = frozenset({"failed", "error", "lost"})
"""Stages of a file that will not be stored."""
NAMED = 5
"""Files that a message names."""
NO_PROGRESS_S = 120.0
"""Longest time in which no file may change its stage."""

FileKey = tuple[str, str]
"""Endpoint and file name."""


class CannotSucceed(RuntimeError):  # noqa: N818
    """The burst will not end well; the text says why."""


class Ledger:
    """Follows the ledger and keeps the newest status of each file."""

    def __init__(self, reader: Consumer) -> None:
        self.reader = reader
        self.files: dict[str, FileStatus] = {}

    def read(self) -> None:
        """Takes what has arrived, or waits half a second for it."""
        for record in self.reader.poll(5000, 0.5):
            with suppress(BadMessage):
                status = decode_status(record.value) if record.value else None
                if isinstance(status, FileStatus):
                    self.files[status.file_id] = status

    def newest(self, wanted: Collection[FileKey]) -> dict[FileKey, FileStatus]:
        """Returns the statuses of these files, without those that no scan has found yet."""
        return {key: status for status in self.files.values() if (key := key_of(status)) in wanted}


def key_of(status: FileStatus) -> FileKey:
    """Returns the key of a file on its element or in the folder to which it was moved."""
    return status.endpoint, PurePosixPath(status.path).name


@dataclass
class Progress:
    """The stages of a burst's files, and since when they have been the same."""

    since_s: float
    stages: Counter[str] = field(default_factory=Counter)

    def check(self, wanted: Collection[FileKey], found: Mapping[FileKey, FileStatus], now_s: float) -> None:
        """Notes the stages of the files.

        Raises:
            CannotSucceed: files are given up, or nothing has changed for NO_PROGRESS_S.
        """
        given_up = [status for status in found.values() if status.stage in GIVEN_UP]
        if given_up:
            raise CannotSucceed(f"{len(given_up)} of {len(wanted)} files are not stored:\n{named(given_up)}")
        stages: Counter[str] = Counter(status.stage for status in found.values())
        if stages != self.stages:
            self.stages, self.since_s = stages, now_s
        elif now_s > self.since_s + NO_PROGRESS_S:
            raise CannotSucceed(f"nothing has changed for {NO_PROGRESS_S:.0f} s:\n{unfinished(wanted, found)}")


def named(statuses: Sequence[FileStatus]) -> str:
    """Returns a line for each of the first files, with its stage and the reason."""
    return "\n".join(f"  {s.endpoint} {s.path}: {s.stage}, {s.reason or 'no reason given'}" for s in statuses[:NAMED])


def unfinished(wanted: Collection[FileKey], found: Mapping[FileKey, FileStatus]) -> str:
    """Returns how many files are not done, by stage, and the first of them."""
    left = {key: found.get(key) for key in wanted if key not in found or found[key].stage != "done"}
    counts = Counter(status.stage if status else "not found" for status in left.values()).most_common()
    first = "\n".join(
        f"  {' '.join(key)}: {f'{status.stage} {status.reason}'.strip() if status else 'not found'}"
        for key, status in list(left.items())[:NAMED]
    )
    by_stage = ", ".join(f"{many} {stage}" for stage, many in counts)
    return f"  {len(left)} of {len(wanted)} files are not done ({by_stage}); the first of them:\n{first}"


def log_tails(logs: Mapping[str, Path], lines: int = 15) -> str:
    """Returns the last lines of the logs of processes that have exited."""
    found = []
    for name, log in logs.items():
        tail = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
        found.append("\n".join((f"{name} has exited; the end of its log:", *tail)))
    return "\n".join(found)
