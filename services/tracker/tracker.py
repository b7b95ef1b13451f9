"""FileProcessingTracker: when is a file through? Pure: the state is two mappings somebody keeps.

A file's batches all lie in one partition, so it is complete in a sink when the sink's position there is beyond the
file's last offset (DESIGN D2). Statuses and positions of one partition number meet in one task.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from services.tracker.waiting import Waiting
from shared.messages import FileStatus, Settle, SinkPosition
from shared.topics import system_of

State = Literal["waiting", "moving"]
"""Of a file the tracker keeps; all else is before or behind it.

waiting    parsed: a required sink's position is not beyond its last offset yet
moving     commanded to done/ or error/; commanded again when the lease of the command ends
"""
ENDS = frozenset({"done", "error", "lost"})


@dataclass
class FileProcessingTracker:
    """Idempotent: any status or position may come again.

    | state   | parsed  | failed | every required sink beyond it | lease ended    | done, error, lost |
    |---------|---------|--------|-------------------------------|----------------|-------------------|
    | (none)  | waiting | moving |                               |                | (none)            |
    | waiting | waiting | moving | moving                        |                | (none)            |
    | moving  | waiting | moving |                               | moving (again) | (none)            |

    A file that is told `parsed` or `failed` again begins again, wherever it was: commands may be repeated.
    """

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for; asked each time, so that it may change while running."""
    files: MutableMapping[str, dict[str, Any]]
    """File id -> its newest status as plain fields, its `state`, and where it moves `to`."""
    positions: MutableMapping[str, int]
    """sink/topic/partition -> next offset."""
    lease_s: float = 300.0
    """A command that was not answered in this time is given again."""
    _waiting: Waiting | None = field(default=None, init=False)
    _commanded_s: dict[str, float] = field(default_factory=dict, init=False)

    def told(self, status: FileStatus, now_s: float) -> Iterator[Settle]:
        """A file's status; what is to be done now."""
        waiting = self._index(now_s)
        match status.stage:
            case "parsed":
                self.files[status.file_id] = {**asdict(status), "state": "waiting"}
                waiting.add((status.topic, status.partition), status.last_offset, status.file_id)
                yield from self._complete(status.topic, status.partition, now_s)
            case "failed":
                self.files[status.file_id] = {**asdict(status), "state": "waiting"}
                yield self._command(status.file_id, "error", now_s)
            case stage if stage in ENDS and status.file_id in self.files:
                del self.files[status.file_id]
                self._commanded_s.pop(status.file_id, None)
            case _:  # found, postponed: the scanner's business, which announces again when a lease ends
                pass

    def moved(self, position: SinkPosition, now_s: float) -> Iterator[Settle]:
        """A sink's position; the files that are complete with it."""
        self._index(now_s)
        self.positions[_key(position.sink, position.topic, position.partition)] = position.next_offset
        yield from self._complete(position.topic, position.partition, now_s)

    def overdue(self, now_s: float) -> Iterator[Settle]:
        """Commands that nobody answered within their lease, once more. Changes neither mapping."""
        self._index(now_s)
        for file_id, commanded_s in list(self._commanded_s.items()):
            if now_s - commanded_s >= self.lease_s and file_id in self.files:
                self._commanded_s[file_id] = now_s
                yield _settle(self.files[file_id])

    def recovered(self) -> None:
        """The mappings were changed from outside, as a table is after a start or a rebalance."""
        self._waiting = None

    def counts(self) -> Mapping[State, int]:
        """How many files are in each state."""
        moving = len(self._commanded_s)
        return {"waiting": len(self.files) - moving, "moving": moving}

    def _index(self, now_s: float) -> Waiting:
        if self._waiting is None:
            self._waiting, self._commanded_s = Waiting(), {}
            for file_id, file in self.files.items():
                if file["state"] == "moving":
                    self._commanded_s[file_id] = now_s
                else:
                    self._waiting.add((file["topic"], file["partition"]), file["last_offset"], file_id)
        return self._waiting

    def _complete(self, topic: str, partition: int, now_s: float) -> Iterator[Settle]:
        """The files of a partition that every required sink is beyond."""
        stored = min(self.positions.get(_key(s, topic, partition), 0) for s in self.complete_on(system_of(topic)))
        for file_id in self._index(now_s).passed((topic, partition), stored):
            file = self.files.get(file_id)
            if file and file["state"] == "waiting" and file["last_offset"] < stored:  # else through, or told again
                yield self._command(file_id, "done", now_s)

    def _command(self, file_id: str, to: Literal["done", "error"], now_s: float) -> Settle:
        stored = {"stored_s": now_s} if to == "done" else {}
        self.files[file_id] = {**self.files[file_id], **stored, "state": "moving", "to": to}
        self._commanded_s[file_id] = now_s
        return _settle(self.files[file_id])


def _settle(file: Mapping[str, Any]) -> Settle:
    status = {name: value for name, value in file.items() if name not in {"state", "to"}}
    return Settle(file_id=file["file_id"], to=file["to"], status=status)


def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
