"""PostponedFiles: ends postponed files that will never be announced again. Pure.

The scanner announces a postponed file again when it lists it. A file that was replaced or removed at its place is not
listed any more, so it would stay postponed for ever. Should it be listed after all, it is announced again, as a scanner
announces lost files too.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from shared.messages import FileStatus

REPLACED = "replaced by a newer file of the same name"
NO_LONGER_THERE = "no longer on the element"
Place = tuple[str, str, str]
"""System, endpoint and path of a file."""


@dataclass
class PostponedFiles:
    """Receives the statuses of all files. Its decisions follow from them alone, so several trackers may decide."""

    postponed_s: float
    """A file is gone if other files of its endpoint were announced so long after it was postponed, and it was not."""
    files: dict[str, FileStatus] = field(default_factory=dict)
    """File id -> status."""
    at_place: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Place -> ids of postponed files."""
    replaced: set[str] = field(default_factory=set)
    """Ids of postponed files at whose place a newer file was announced."""
    announced_s: dict[tuple[str, str], float] = field(default_factory=dict)
    """System and endpoint -> when its newest file was announced first."""

    def on_status(self, status: FileStatus) -> None:
        """Takes the status of any file."""
        self.on_removed(status.file_id)
        endpoint = status.system, status.endpoint
        self.announced_s[endpoint] = max(self.announced_s.get(endpoint, 0.0), status.found_s)
        here = self.at_place.get(_place(status), ())
        self.replaced.update(known for known in here if self.files[known].found_s < status.found_s)
        if status.stage == "postponed":
            self.files[status.file_id] = status
            self.at_place[_place(status)].add(status.file_id)

    def on_removed(self, file_id: str) -> None:
        """Takes the removal of a file from the ledger; does nothing if it is not postponed."""
        file = self.files.pop(file_id, None)
        if file is None:
            return
        self.replaced.discard(file_id)
        here = self.at_place[_place(file)]
        here.discard(file_id)
        if not here:
            del self.at_place[_place(file)]

    def ended(self, now_s: float) -> Iterator[FileStatus]:
        """Yields the last statuses of files that are gone, each once."""
        gone = [(file, reason) for file in self.files.values() if (reason := self._reason(file))]
        for file, reason in gone:
            self.on_removed(file.file_id)
            yield replace(file, stage="lost", at_s=now_s, reason=reason)

    def _reason(self, file: FileStatus) -> str:
        if file.file_id in self.replaced:
            return REPLACED
        is_overdue = self.announced_s[file.system, file.endpoint] >= file.at_s + self.postponed_s
        return NO_LONGER_THERE if is_overdue else ""


def _place(file: FileStatus) -> Place:
    return file.system, file.endpoint, file.path
