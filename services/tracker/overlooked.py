"""Overlooked: files that should have been commanded long ago, found by a second reading of the ledger. Pure.

Faust drops records between two rebalances that follow each other quickly, and reads on behind them: its tracker never
hears of these files until it is started again. The ledger itself has them.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from shared.messages import FileStatus, LedgerRecord, Settle, SinkPosition

OF_STAGE: dict[str, Literal["done", "error"]] = {"parsed": "done", "failed": "error"}


@dataclass
class Overlooked:
    """Fed with the whole ledger; commands are idempotent, so trackers beside each other may all give them."""

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for."""
    patience_s: float
    """For the tracker, from when a file was seen to be complete."""
    files: dict[str, FileStatus] = field(default_factory=dict)
    """Those that are parsed or failed, and not moved yet."""
    positions: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """Sink, topic and partition -> next offset."""
    complete_s: dict[str, float] = field(default_factory=dict)
    """File id -> since when it is seen to be complete, or when it was commanded from here."""

    def told(self, record: LedgerRecord) -> None:
        """A record of the ledger."""
        match record:
            case SinkPosition():
                self.positions[record.sink, record.topic, record.partition] = record.next_offset
            case FileStatus():
                self.complete_s.pop(record.file_id, None)
                self.files.pop(record.file_id, None)
                if record.stage in OF_STAGE:
                    self.files[record.file_id] = record

    def due(self, now_s: float) -> Iterator[Settle]:
        """What is to be commanded now."""
        for file in self.files.values():
            if not self._is_complete(file):
                continue
            since_s = self.complete_s.setdefault(file.file_id, now_s)
            if now_s - since_s >= self.patience_s:
                self.complete_s[file.file_id] = now_s
                status = asdict(file) | ({"stored_s": now_s} if file.stage == "parsed" else {})
                yield Settle(file_id=file.file_id, to=OF_STAGE[file.stage], status=status)

    def _is_complete(self, file: FileStatus) -> bool:
        return file.stage == "failed" or all(
            self.positions.get((sink, file.topic, file.partition), 0) > file.last_offset
            for sink in self.complete_on(file.system)
        )
