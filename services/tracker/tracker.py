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

    | state    | told: parsed | failed | every required sink beyond it | lease ended        | done, error, lost  |
    |----------|--------------|--------|-------------------------------|--------------------|--------------------|
    | (none)   | parsed       | failed |                               |                    | (none)             |
    | parsed   | parsed       | failed | stored: to done/              |                    | (none)             |
    | stored   | parsed       | failed |                               | stored: to done/   | (none)             |
    | failed   | parsed       | failed |                               | failed: to error/  | (none)             |

    All its other states (`states.State`) are told by the ledger alone, which is the table of them: found, fetching and
    postponed are the scanner's business, whose leases announce again.
    A file that is told `parsed` or `failed` again begins again, wherever it was: commands may be repeated.
    """

    complete_on: Callable[[str], Collection[str]]
    """System -> the sinks its files wait for; asked each time, so that it may change while running."""
    files: MutableMapping[str, dict[str, Any]]
    """File id -> its newest status as plain fields, and its `state`: parsed, stored or failed."""
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
                self._commanded_s.pop(status.file_id, None)
                if status.last_offset < self._stored(status.topic, status.partition):
                    yield self._command(_kept(status, "stored", now_s), now_s)
                else:
                    self.files[status.file_id] = _kept(status, "parsed")
                    waiting.add((status.topic, status.partition), status.last_offset, status.file_id)
            case "failed":
                yield self._command(_kept(status, "failed"), now_s)
            case stage if stage in ENDS and status.file_id in self.files:
                del self.files[status.file_id]
                self._commanded_s.pop(status.file_id, None)
            case _:
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

    def counts(self) -> Mapping[str, int]:
        """How many files wait for sinks, and how many for a fetcher to move them."""
        moving = len(self._commanded_s)
        return {"waiting": len(self.files) - moving, "moving": moving}

    def _index(self, now_s: float) -> Waiting:
        if self._waiting is None:
            self._waiting, self._commanded_s = Waiting(), {}
            for file_id, file in self.files.items():
                if file["state"] in ENDS_OF:
                    self._commanded_s[file_id] = now_s
                else:
                    self._waiting.add((file["topic"], file["partition"]), file["last_offset"], file_id)
        return self._waiting

    def _complete(self, topic: str, partition: int, now_s: float) -> Iterator[Settle]:
        """The files of a partition that every required sink is beyond."""
        stored = self._stored(topic, partition)
        for file_id in self._index(now_s).passed((topic, partition), stored):
            file = self.files.get(file_id)
            if file and file["state"] == "parsed" and file["last_offset"] < stored:  # else through, or told again
                yield self._command({**file, "state": "stored", "stored_s": now_s}, now_s)

    def _stored(self, topic: str, partition: int) -> int:
        """The next offset of the last of the required sinks."""
        return min(self.positions.get(_key(s, topic, partition), 0) for s in self.complete_on(system_of(topic)))

    def _command(self, file: dict[str, Any], now_s: float) -> Settle:
        self.files[file["file_id"]] = file
        self._commanded_s[file["file_id"]] = now_s
        return _settle(file)


def _kept(status: FileStatus, state: str, stored_s: float = 0.0) -> dict[str, Any]:
    return {name: getattr(status, name) for name in FIELDS} | {"state": state, "stored_s": stored_s}


def _settle(file: Mapping[str, Any]) -> Settle:
    status = {name: value for name, value in file.items() if name != "state"}
    return Settle(file_id=file["file_id"], to=ENDS_OF[file["state"]], status=status)


def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
