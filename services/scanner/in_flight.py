"""InFlight: counts the files of each system that are announced and not stored yet. Pure.

Its cost follows the files that are in flight: a parsed file that is stored is passed over without a look at it.
"""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import NamedTuple

from services.scanner.file_progress import FileProgress
from shared.messages import FileStatus
from shared.sink_positions import SinkPositions

TAKING_ROOM = frozenset({"found", "fetching", "parsed"})
"""The stages in which a file may take room."""


@dataclass(frozen=True, slots=True)
class FilesInFlight:
    """The number of files of a system that are announced and not stored yet."""

    waiting_for_fetchers: int
    """Announced, or being fetched."""
    waiting_for_sinks: int
    by_endpoint: Counter[str]


class OffsetsOfSystem(NamedTuple):
    """Names the parsed files of one system in one partition."""

    system: str
    topic: str
    partition: int


class FileAtOffset(NamedTuple):
    """A file that is parsed, by the offset that a sink must pass to have stored it."""

    last_offset: int
    file_id: str
    endpoint: str


@dataclass
class InFlight:
    """The files that take room: announced, being fetched, or parsed and not refused to be moved."""

    positions: SinkPositions = field(default_factory=SinkPositions)
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)
    """File id -> system and endpoint of each file that waits for fetchers."""
    of_endpoints: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """System -> endpoint -> files that wait for fetchers; without those that have none."""
    parsed: dict[str, tuple[OffsetsOfSystem, FileAtOffset]] = field(default_factory=dict)
    """File id -> place of each file that is parsed and was not refused to be moved."""
    by_offset: dict[OffsetsOfSystem, list[FileAtOffset]] = field(default_factory=dict)
    """The same files in the order of their last offsets."""

    def record(self, status: FileStatus | FileProgress) -> None:
        """Takes the newest status of a file."""
        self.remove(status.file_id)
        if status.stage not in TAKING_ROOM:
            return
        system, endpoint = intern(status.system), intern(status.endpoint)
        if status.stage != "parsed":
            self.waiting[status.file_id] = system, endpoint
            self.of_endpoints[system][endpoint] += 1
        elif not status.moves_refused:
            at = OffsetsOfSystem(system, status.topic, status.partition)
            file = FileAtOffset(status.last_offset, status.file_id, endpoint)
            self.parsed[status.file_id] = at, file
            insort(self.by_offset.setdefault(at, []), file)

    def remove(self, file_id: str) -> None:
        """Takes a file out; does nothing if it takes no room."""
        if of_endpoint := self.waiting.pop(file_id, None):
            system, endpoint = of_endpoint
            of_system = self.of_endpoints[system]
            of_system[endpoint] -= 1
            if not of_system[endpoint]:
                del of_system[endpoint]
        elif place := self.parsed.pop(file_id, None):
            at, file = place
            files = self.by_offset[at]
            del files[bisect_left(files, file)]
            if not files:
                del self.by_offset[at]

    def of_system(self, system: str, complete_on: Collection[str]) -> FilesInFlight:
        """Returns what a system has in flight.

        Args:
            system: name of the system.
            complete_on: the sinks that its files wait for; if empty, all that reported a position for them.
        """
        waiting = self.of_endpoints.get(system, Counter())
        parsed = Counter(file.endpoint for file in self._not_stored(system, complete_on))
        return FilesInFlight(waiting.total(), parsed.total(), waiting + parsed)

    def _not_stored(self, system: str, complete_on: Collection[str]) -> Iterator[FileAtOffset]:
        for at, files in self.by_offset.items():
            if at.system == system:
                sinks = complete_on or self.positions.in_partition(at.topic, at.partition)
                stored_before = self.positions.stored_before(sinks, at.topic, at.partition)
                first = bisect_left(files, (stored_before,)) if sinks else 0
                yield from files[first:]
