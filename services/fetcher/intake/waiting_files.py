"""Files that wait for a download thread. Those of one endpoint are taken together and fetched over one session."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.fetcher.intake.endpoint_queues import EndpointQueues
from shared.kafka.record import Record
from shared.messages import FileFound


def _raised(error: Exception) -> None:
    raise error


@dataclass(slots=True, eq=False)
class Announced:
    """An announced file, and the function to call once its outcome is durable. A file may be announced twice."""

    file: FileFound
    on_done: Callable[[], None]
    record: Record | None = None
    """The announcement, which is set aside if the code fails on the file."""
    again: bool = False
    """True if this announcement may have been processed before."""
    is_sent: bool = False
    """True once nothing is left to do but to wait until the outcome is durable."""
    is_done: bool = False
    on_defect: Callable[[Exception], None] = _raised
    """Called when the code fails on the file after it was sent."""

    def done(self) -> None:
        """Marks the file as done, once: its outcome is durable."""
        if not self.is_done:
            self.is_sent = self.is_done = True
            self.on_done()

    @property
    def origin(self) -> str:
        return self.record.origin if self.record else self.file.file_id


@dataclass(frozen=True, slots=True)
class FilesTogether:
    """The bounds of the files of one endpoint that are taken together."""

    max_files: int
    max_bytes: int
    """A single file may be larger."""

    def __call__(self, waiting: deque[Announced]) -> list[Announced]:
        """Removes and returns the first files that wait."""
        taken: list[Announced] = []
        left_bytes = self.max_bytes
        while waiting and len(taken) < self.max_files and (not taken or waiting[0].file.size <= left_bytes):
            taken.append(waiting.popleft())
            left_bytes -= taken[-1].file.size
        return taken


WaitingFiles = EndpointQueues[Announced]
