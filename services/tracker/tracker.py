"""FileProcessingTracker: when is a file through? Pure: the state is two mappings somebody keeps.

A file's batches all lie in one partition, so it is complete in a sink when the sink's position there is beyond the
file's last offset (docs/decisions/0002-completion-by-offset.md). Statuses and positions of one partition number meet in
one task.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from services.tracker.waiting import Waiting
from shared.kafka.record import TopicPartition
from shared.messages import FileStatus, Settle, SinkPosition
from shared.sink_positions import SinkPositions
from shared.topics import system_of

ENDS = frozenset({"done", "error", "lost"})
FIELDS = tuple(f.name for f in fields(FileStatus))


@dataclass
class FileProcessingTracker:
    """Idempotent: any status or position may come again. It keeps the files that something is to be done for:

    | kept as | told: parsed                     | failed     | all required sinks beyond it | done, error, lost |
    |---------|----------------------------------|------------|------------------------------|-------------------|
    | (none)  | parsed; to done/ if beyond it    | to error/  |                              | (none)            |
    | parsed  | parsed; to done/ if beyond it    | to error/  | to done/                     | (none)            |

    A command changes nothing that is kept: what was decided before a kill is decided again, and whoever gets a command
    twice recognises it. One that nobody answers `leases.Leases` gives again. All other states of a file
    (`states.State`) are told by the ledger alone, which is the table of them: found, fetching and postponed are the
    scanner's business, whose leases announce again.
    """

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for; asked each time, so that it may change while running."""
    files: MutableMapping[str, dict[str, Any]]
    """File id -> its status as plain fields, from when it is parsed until it is moved away."""
    positions: SinkPositions
    _waiting: Waiting | None = field(default=None, init=False)

    def told(self, status: FileStatus, now_s: float) -> Iterator[Settle]:
        """A file's status; what is to be done now."""
        match status.stage:
            case "parsed" if self._is_stored(status):
                yield _settle(_plain(status), "done", now_s)
            case "parsed":
                waiting = self._index()  # of those before this one
                self.files[status.file_id] = _plain(status)
                waiting.add(TopicPartition(status.topic, status.partition), status.last_offset, status.file_id)
            case "failed":
                if status.file_id in self.files:  # it could be read before
                    del self.files[status.file_id]
                yield _settle(_plain(status), "error")
            case stage if stage in ENDS and status.file_id in self.files:
                del self.files[status.file_id]
            case _:
                pass

    def moved(self, position: SinkPosition, now_s: float) -> Iterator[Settle]:
        """A sink's position; the files that are complete with it."""
        at = TopicPartition(position.topic, position.partition)
        waiting = self._index()
        self.positions.record(position)
        stored_before = self.positions.stored_before(self.complete_on(system_of(at.topic)), *at)
        for file_id in waiting.passed(at, stored_before):
            file = self.files.get(file_id)
            if file and file["last_offset"] < stored_before:  # else through, or told again
                yield _settle(file, "done", now_s)

    def recovered(self) -> None:
        """The mappings were changed from outside, as a table is after a start or a rebalance."""
        self._waiting = None

    def _index(self) -> Waiting:
        """All that is kept, also what was commanded before a recovery: it is commanded again."""
        if self._waiting is None:
            self._waiting = Waiting()
            for file_id, file in self.files.items():
                self._waiting.add(TopicPartition(file["topic"], file["partition"]), file["last_offset"], file_id)
        return self._waiting

    def _is_stored(self, file: FileStatus) -> bool:
        sinks = self.complete_on(system_of(file.topic))
        return self.positions.is_stored_in_all(sinks, file.topic, file.partition, file.last_offset)


def _plain(status: FileStatus) -> dict[str, Any]:
    return {name: getattr(status, name) for name in FIELDS}


def _settle(file: Mapping[str, Any], to: Literal["done", "error"], stored_s: float = 0.0) -> Settle:
    status = FileStatus(**{name: file[name] for name in FIELDS if name in file})
    return Settle(file_id=status.file_id, to=to, status=replace(status, stored_s=stored_s))
