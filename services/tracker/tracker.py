"""FileProcessingTracker: decides when a file is complete and commands its move. Pure: its state is two mappings.

A file is complete when every required sink has stored it (`shared.sink_positions.SinkPositions`,
docs/decisions/0002-completion-by-offset.md). Statuses and positions of one partition number are handled by one task, as
a file's messages and positions share that number.
"""

from collections.abc import Callable, Collection, Iterator, MutableMapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from services.tracker.files_by_offset import FilesByOffset
from services.tracker.gaps import collected_again
from shared.kafka.record import TopicPartition
from shared.ledger import OffsetGap
from shared.messages import FileStatus, Settle, SinkPosition
from shared.sink_positions import SinkPositions, is_in
from shared.topics import system_of

FINAL_STAGES = frozenset({"done", "error", "lost"})
STATUS_FIELDS = tuple(f.name for f in fields(FileStatus))


@dataclass(frozen=True, slots=True)
class TrackedFiles:
    """The newest statuses of files under way, in a mapping of plain JSON values such as a Faust table."""

    table: MutableMapping[str, dict[str, Any]]
    """File id -> the fields of its status. Unknown fields, of a newer version, are ignored; so is an invalid entry."""

    def get(self, file_id: str) -> FileStatus | None:
        return _status(self.table.get(file_id))

    def put(self, status: FileStatus) -> None:
        self.table[status.file_id] = _plain(status)

    def remove(self, file_id: str) -> None:
        """Removes a file; does nothing if it is not tracked."""
        if file_id in self.table:
            del self.table[file_id]

    def all(self) -> Iterator[FileStatus]:
        return (status for found in self.table.values() if (status := _status(found)))


@dataclass
class FileProcessingTracker:
    """Keeps the files that still need a command. Idempotent: any status or position may come again.

    | kept as | parsed arrives                     | failed arrives | all required sinks have it | done, error, lost |
    |---------|------------------------------------|----------------|----------------------------|-------------------|
    | (none)  | parsed; to done/ if stored already | to error/      |                            | (none)            |
    | parsed  | parsed; to done/ if stored already | to error/      | to done/                   | (none)            |

    A parsed file that a required sink missed in a gap of the topic gets the status postponed and is no longer kept.
    A file that could not be moved (`moves_refused`) gets no command here: `leases.Leases` repeats it, ever more slowly.
    A command does not change what is kept. What was decided before a kill is decided again; a fetcher that receives a
    command twice recognises it. `leases.Leases` repeats a command that nobody answers. All other states of a file
    (`states.State`) are in the ledger alone: found, fetching and postponed concern the scanner, which announces a file
    again when its lease ends.
    """

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for; called each time, as it may change while running."""
    files: TrackedFiles
    """The files that are parsed and not moved away yet."""
    positions: SinkPositions
    _by_offset: FilesByOffset | None = field(default=None, init=False)

    def on_status(self, status: FileStatus, now_s: float) -> Iterator[Settle | FileStatus]:
        """Takes the status of a file; yields the commands to give now, or the status that follows from a gap."""
        match status.stage:
            case "parsed" | "failed" if status.moves_refused:
                pass
            case "parsed" if sink := self.positions.lost_by(self.complete_on(system_of(status.topic)), status):
                self.files.remove(status.file_id)
                yield collected_again(status, sink, now_s)
            case "parsed" if self._is_stored(status):
                yield _settle(status, "done", now_s)
            case "parsed":
                by_offset = self._index()  # before the file is added to what it is built from
                self.files.put(status)
                by_offset.add(TopicPartition(status.topic, status.partition), status.last_offset, status.file_id)
            case "failed":
                self.files.remove(status.file_id)  # a parse before this one may have succeeded
                yield _settle(status, "error")
            case stage if stage in FINAL_STAGES:
                self.files.remove(status.file_id)
            case _:
                pass

    def on_position(self, position: SinkPosition, now_s: float) -> Iterator[Settle]:
        """Takes the position of a sink; yields the commands for files that are complete with it."""
        at = TopicPartition(position.topic, position.partition)
        by_offset = self._index()
        self.positions.record(position)
        stored_before = self.positions.stored_before(self.complete_on(system_of(at.topic)), *at)
        for file_id in by_offset.passed(at, stored_before):
            file = self.files.get(file_id)
            if file and file.last_offset < stored_before:  # else it was moved, or parsed once more
                yield _settle(file, "done", now_s)

    def on_gap(self, gap: OffsetGap, now_s: float) -> Iterator[FileStatus]:
        """Takes a gap in what a sink read; yields the new statuses of the files that it can no longer store."""
        self.positions.record_gap(gap)
        if gap.sink not in self.complete_on(system_of(gap.topic)):
            return
        at = gap.topic, gap.partition
        for file in [file for file in self.files.all() if (file.topic, file.partition) == at and is_in(gap, file)]:
            self.files.remove(file.file_id)
            yield collected_again(file, gap.sink, now_s)

    def on_removed(self, file_id: str) -> None:
        """Takes the removal of a file from the ledger: if it is still on its element, it is announced as a new one."""
        self.files.remove(file_id)

    def on_recovered(self) -> None:
        """Called after the mappings changed from outside, as a table does at the start and in a rebalance."""
        self._by_offset = None

    def _index(self) -> FilesByOffset:
        """Returns all files that are kept by offset. After a recovery, files commanded before are commanded again."""
        if self._by_offset is None:
            self._by_offset = FilesByOffset()
            for file in self.files.all():
                self._by_offset.add(TopicPartition(file.topic, file.partition), file.last_offset, file.file_id)
        return self._by_offset

    def _is_stored(self, file: FileStatus) -> bool:
        sinks = self.complete_on(system_of(file.topic))
        return self.positions.is_stored_in_all(sinks, file.topic, file.partition, file.last_offset)


def _plain(status: FileStatus) -> dict[str, Any]:
    return {name: getattr(status, name) for name in STATUS_FIELDS}


def _status(found: Any) -> FileStatus | None:
    """Returns the status of an entry; None if there is none, or if the table's changelog was damaged."""
    try:
        return FileStatus(**{name: found[name] for name in STATUS_FIELDS if name in found})
    except TypeError:
        return None


def _settle(status: FileStatus, to: Literal["done", "error"], stored_s: float = 0.0) -> Settle:
    return Settle(file_id=status.file_id, to=to, status=replace(status, stored_s=stored_s))
