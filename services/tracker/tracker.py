"""FileProcessingTracker: when is a file through? Pure: the state is two mappings somebody keeps.

A file's batches all lie in one partition, so it is complete in a sink when the sink's position there is beyond the
file's last offset (DESIGN D2). Statuses and positions of one partition number meet in one task.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from services.tracker.waiting import Waiting
from shared.messages import FileStatus, Settle, SinkPosition
from shared.topics import system_of

ENDS = frozenset({"done", "error", "lost"})
ENDS_OF: Mapping[str, Literal["done", "error"]] = {"stored": "done", "failed": "error"}
"""Where a file in this state is to be moved."""
FIELDS = tuple(f.name for f in fields(FileStatus))


@dataclass
class FileProcessingTracker:
    """Idempotent: any status or position may come again. It keeps the files that something is to be done for:

    | state    | told: parsed | failed            | all required sinks beyond it | done, error, lost  |
    |----------|--------------|-------------------|------------------------------|--------------------|
    | (none)   | parsed       | failed: to error/ |                              | (none)             |
    | parsed   | parsed       | failed: to error/ | stored: to done/             | (none)             |
    | stored   | parsed       | failed: to error/ |                              | (none)             |
    | failed   | parsed       | failed: to error/ |                              | (none)             |

    All its other states (`states.State`) are told by the ledger alone, which is the table of them: found, fetching and
    postponed are the scanner's business, whose leases announce again.
    A file that is told `parsed` or `failed` again begins again, wherever it was: commands may be repeated, and
    `leases.Leases` does so when nobody answers.
    """

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for; asked each time, so that it may change while running."""
    files: MutableMapping[str, dict[str, Any]]
    """File id -> its newest status as plain fields, and its `state`: parsed, stored or failed."""
    positions: MutableMapping[str, int]
    """sink/topic/partition -> next offset."""
    _waiting: Waiting | None = field(default=None, init=False)

    def told(self, status: FileStatus, now_s: float) -> Iterator[Settle]:
        """A file's status; what is to be done now."""
        match status.stage:
            case "parsed" if status.last_offset < self._stored(status.topic, status.partition):
                yield self._command(_kept(status, "stored", now_s))
            case "parsed":
                waiting = self._index()  # of those before this one
                self.files[status.file_id] = _kept(status, "parsed")
                waiting.add((status.topic, status.partition), status.last_offset, status.file_id)
            case "failed":
                yield self._command(_kept(status, "failed"))
            case stage if stage in ENDS and status.file_id in self.files:
                del self.files[status.file_id]
            case _:
                pass

    def moved(self, position: SinkPosition, now_s: float) -> Iterator[Settle]:
        """A sink's position; the files that are complete with it."""
        place = position.topic, position.partition
        self.positions[_key(position.sink, *place)] = position.next_offset
        stored = self._stored(*place)
        for file_id in self._index().passed(place, stored):
            file = self.files.get(file_id)
            if file and file["state"] == "parsed" and file["last_offset"] < stored:  # else through, or told again
                yield self._command({**file, "state": "stored", "stored_s": now_s})

    def recovered(self) -> None:
        """The mappings were changed from outside, as a table is after a start or a rebalance."""
        self._waiting = None

    def _index(self) -> Waiting:
        if self._waiting is None:
            self._waiting = Waiting()
            for file_id, file in self.files.items():
                if file["state"] == "parsed":
                    self._waiting.add((file["topic"], file["partition"]), file["last_offset"], file_id)
        return self._waiting

    def _stored(self, topic: str, partition: int) -> int:
        """The next offset of the last of the required sinks."""
        return min(self.positions.get(_key(s, topic, partition), 0) for s in self.complete_on(system_of(topic)))

    def _command(self, file: dict[str, Any]) -> Settle:
        self.files[file["file_id"]] = file
        return _settle(file)


def _kept(status: FileStatus, state: str, stored_s: float = 0.0) -> dict[str, Any]:
    return {name: getattr(status, name) for name in FIELDS} | {"state": state, "stored_s": stored_s}


def _settle(file: Mapping[str, Any]) -> Settle:
    status = {name: value for name, value in file.items() if name != "state"}
    return Settle(file_id=file["file_id"], to=ENDS_OF[file["state"]], status=status)


def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
