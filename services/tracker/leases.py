"""Leases: repeats the command for a complete file that was not moved away before its lease ended. Pure.

It uses a second reading of the ledger instead of the tracker's own state: under load, around rebalances, Faust was seen
to skip records, so a tracker may not learn of a file until it is restarted.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from services.tracker.gaps import collected_again
from shared.backoff import backoff_s
from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, Settle, SinkPosition
from shared.sink_positions import SinkPositions

DESTINATIONS: dict[str, Literal["done", "error"]] = {"parsed": "done", "failed": "error"}
"""Stage -> where a file at that stage is to be moved."""
LONGEST_REFUSED_WAIT_S = 3600.0
"""Longest wait before a file is moved that its element refused to move; the wait doubles from one lease on."""


@dataclass
class Leases:
    """Receives the whole ledger. Commands are idempotent, so that several trackers may all repeat them."""

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for; called each time, as it may change while running."""
    lease_s: float
    """Time that a fetcher has to answer, from when a file was first seen to be complete."""
    files: dict[str, FileStatus] = field(default_factory=dict)
    """File id -> status of files that are parsed or failed, and not moved yet."""
    positions: SinkPositions = field(default_factory=SinkPositions)
    since_s: dict[str, float] = field(default_factory=dict)
    """File id -> when it was first seen to be complete, or when its command was last repeated."""

    def on_record(self, record: LedgerRecord) -> None:
        """Takes a record of the ledger."""
        match record:
            case SinkPosition():
                self.positions.record(record)
            case OffsetGap():
                self.positions.record_gap(record)
            case FileStatus():
                self.on_removed(record.file_id)
                if record.stage in DESTINATIONS:
                    self.files[record.file_id] = record
                    if record.moves_refused:
                        self.since_s[record.file_id] = record.at_s

    def on_removed(self, file_id: str) -> None:
        """Takes the removal of a file from the ledger, or the end of its life. Does nothing if it is not kept."""
        self.since_s.pop(file_id, None)
        self.files.pop(file_id, None)

    def ended(self, now_s: float) -> Iterator[Settle]:
        """Yields the commands to repeat now. Must be called regularly, as leases begin here too."""
        for file in self.files.values():
            if not self._is_complete(file):
                continue
            if self._passed_s(file, now_s) >= self._wait_s(file):
                self.since_s[file.file_id] = now_s
                status = replace(file, stored_s=file.stored_s or now_s) if file.stage == "parsed" else file
                yield Settle(file_id=file.file_id, to=DESTINATIONS[file.stage], status=status)

    def lost(self, now_s: float) -> Iterator[FileStatus]:
        """Yields the new status of each file in a gap that the tracker itself has not postponed within its lease."""
        for file in self.files.values():
            sink = self._lost_by(file)
            if sink and self._passed_s(file, now_s) >= self.lease_s:
                self.since_s[file.file_id] = now_s
                yield collected_again(file, sink, now_s)

    def counts(self) -> dict[str, int]:
        """Returns how many files wait for sinks, and how many for a fetcher that moves them."""
        return {"waiting": len(self.files) - len(self.since_s), "moving": len(self.since_s)}

    def not_moved(self) -> Counter[str]:
        """Returns how many files of each system could not be moved at the last attempt."""
        return Counter(file.system for file in self.files.values() if file.moves_refused)

    def _passed_s(self, file: FileStatus, now_s: float) -> float:
        """Returns the time since a file's lease began; it begins now if it did not, or by a clock that was ahead."""
        self.since_s[file.file_id] = min(self.since_s.get(file.file_id, now_s), now_s)
        return now_s - self.since_s[file.file_id]

    def _wait_s(self, file: FileStatus) -> float:
        longest_s = max(self.lease_s, LONGEST_REFUSED_WAIT_S)
        return backoff_s(file.moves_refused, self.lease_s, longest_s, jitter=1.0)

    def _is_complete(self, file: FileStatus) -> bool:
        return file.stage == "failed" or (
            self.positions.is_stored_in_all(self.complete_on(file.system), file.topic, file.partition, file.last_offset)
            and not self._lost_by(file)
        )

    def _lost_by(self, file: FileStatus) -> str:
        return self.positions.lost_by(self.complete_on(file.system), file) if file.stage == "parsed" else ""
