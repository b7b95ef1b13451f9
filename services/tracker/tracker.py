"""FileProcessingTracker: when is a file through? Pure: the state is two mappings somebody keeps.

A file's batches all lie in one partition, so it is complete in a sink when the sink's position there is beyond the
file's last offset (DESIGN D2). Statuses and positions of one partition number meet in one task.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shared.messages import FileStatus, Settle, SinkPosition


@dataclass(frozen=True)
class FileProcessingTracker:
    """Idempotent: any status or position may come again."""

    complete_on: Mapping[str, frozenset[str]]
    """System -> the sinks its files wait for."""
    files: MutableMapping[str, dict[str, Any]]
    """File id -> its newest status as plain fields, and whether it was told to move (`settling`)."""
    positions: MutableMapping[str, int]
    """sink/topic/partition -> next offset."""

    def told(self, status: FileStatus) -> Iterator[Settle]:
        """A file's status; what is to be done now."""
        match status.stage:
            case "parsed" | "failed":
                self.files[status.file_id] = {**asdict(status), "settling": False}
                yield from self._settle(status.file_id)
            case "done" | "error" | "lost" if status.file_id in self.files:
                del self.files[status.file_id]
            case _:  # found, postponed: the scanner's business
                pass

    def moved(self, position: SinkPosition) -> Iterator[Settle]:
        """A sink's position; the files that are complete with it."""
        self.positions[_key(position.sink, position.topic, position.partition)] = position.next_offset
        waiting = [
            file_id
            for file_id, file in self.files.items()
            if file["topic"] == position.topic and file["partition"] == position.partition and not file["settling"]
        ]
        for file_id in waiting:
            yield from self._settle(file_id)

    def _settle(self, file_id: str) -> Iterator[Settle]:
        to = self._end(self.files[file_id])
        if to is None:
            return
        status = {name: value for name, value in self.files[file_id].items() if name != "settling"}
        self.files[file_id] = {**status, "settling": True}
        yield Settle(file_id=file_id, to=to, status=status)

    def _end(self, file: Mapping[str, Any]) -> Literal["done", "error"] | None:
        """Where a file goes now, or nothing while a sink is behind."""
        if file["stage"] == "failed":
            return "error"
        sinks = self.complete_on.get(file["system"], frozenset({"mysql"}))
        through = all(
            self.positions.get(_key(sink, file["topic"], file["partition"]), 0) > file["last_offset"] for sink in sinks
        )
        return "done" if through else None


def _key(sink: str, topic: str, partition: int) -> str:
    return f"{sink}/{topic}/{partition}"
