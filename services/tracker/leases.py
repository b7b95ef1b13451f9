"""Leases: files that are complete and not moved away: their command is given again when its lease ends. Pure.

From a second reading of the ledger, not from the tracker's own state: under load, around rebalances, records were seen
that Faust never handed out, so a tracker may not hear of a file until it is started again.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from shared.messages import FileStatus, LedgerRecord, Settle, SinkPosition
from shared.sink_positions import SinkPositions

OF_STAGE: dict[str, Literal["done", "error"]] = {"parsed": "done", "failed": "error"}


@dataclass
class Leases:
    """Fed with the whole ledger; commands are idempotent, so trackers beside each other may all give them again."""

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for."""
    lease_s: float
    """For the fetcher to answer, from when a file was seen to be complete."""
    files: dict[str, FileStatus] = field(default_factory=dict)
    """Those that are parsed or failed, and not moved yet."""
    positions: SinkPositions = field(default_factory=SinkPositions)
    since_s: dict[str, float] = field(default_factory=dict)
    """File id -> when it was seen to be complete, or was commanded from here."""

    def told(self, record: LedgerRecord) -> None:
        """A record of the ledger."""
        match record:
            case SinkPosition():
                self.positions.record(record)
            case FileStatus():
                self.since_s.pop(record.file_id, None)
                self.files.pop(record.file_id, None)
                if record.stage in OF_STAGE:
                    self.files[record.file_id] = record

    def ended(self, now_s: float) -> Iterator[Settle]:
        """What is to be commanded again now; to be asked every so often, as the leases begin here too."""
        for file in self.files.values():
            if not self._is_complete(file):
                continue
            if now_s - self.since_s.setdefault(file.file_id, now_s) >= self.lease_s:
                self.since_s[file.file_id] = now_s
                status = replace(file, stored_s=now_s) if file.stage == "parsed" else file
                yield Settle(file_id=file.file_id, to=OF_STAGE[file.stage], status=status)

    def counts(self) -> dict[str, int]:
        """Files that wait for sinks, and those that wait for a fetcher to move them."""
        return {"waiting": len(self.files) - len(self.since_s), "moving": len(self.since_s)}

    def _is_complete(self, file: FileStatus) -> bool:
        return file.stage == "failed" or self.positions.is_stored_in_all(
            self.complete_on(file.system), file.topic, file.partition, file.last_offset
        )
