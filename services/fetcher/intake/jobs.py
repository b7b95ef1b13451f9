"""Decodes announcements, and returns the job for each."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from sys import intern
from time import time

from services.fetcher import metrics
from services.fetcher.elements import name_of_endpoint
from services.fetcher.intake.endpoint_queues import EndpointOfPool
from services.fetcher.intake.epochs import Epochs
from services.fetcher.intake.topic_intake import Job
from services.fetcher.intake.waiting_files import Announced, WaitingFiles
from services.fetcher.intake.waiting_records import Ticket
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import Record
from shared.messages import BadMessage, File, FileFound, FileStatus, status_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchJobs:
    """Assigns each announced file to the pool of its system.

    A thread takes files that wait for the same endpoint together. If another thread has taken its file that way, it
    finds nothing to do. A host occupies only its share of the threads, so that one that hangs leaves the others theirs.
    """

    process: Callable[[Sequence[Announced]], None]
    """Fetches, parses and publishes files of one endpoint; see `FileProcessorWorker`."""
    knows: Callable[[str], bool]
    """Returns True if a system is configured."""
    waiting: WaitingFiles
    publish: Callable[[FileStatus, Callable[[], None]], None]
    """Publishes a status; calls the function once it is durable."""
    letters: DeadLetters
    budget: DefectBudget = field(default_factory=DefectBudget)
    renew: Callable[[], None] = nothing_to_renew
    """Forgets what may be outdated of elements."""
    epochs: Epochs = field(default_factory=Epochs)
    on_read: Callable[[Record], object] = lambda _: None
    """Called for each record, in order."""
    may_be_repeated: Callable[[Record], bool] = lambda _: False
    """Returns True if an announcement may have been processed before."""
    host_of: Callable[[File], str] = name_of_endpoint
    """Returns the host of a file."""

    def ticket(self, record: Record) -> Ticket | None:
        """Returns where an announcement waits; None: it is discarded. Called for each record, in order.

        Of two announcements of a file that wait, the later one is answered, so no more wait than there are files
        under way: the scanner announces a file again when its lease ends, however long its system is slow.

        Raises:
            BadMessage: not an announcement, or its system is not configured.
        """
        self.on_read(record)
        file = self._decoded(record)
        # A backfill is announced without a leader.
        if file.lies_at or self.epochs.current(file.system, record.partition, file.epoch):
            return Ticket(intern(file.system), file.file_id, file.attempt, self.host_of(file))
        # The current leader announces the file again when its lease ends.
        extra = {"file": file.file_id, "epoch": file.epoch}
        log.warning("announcement of a former leader discarded", extra=extra)
        return None

    def __call__(self, record: Record, done: Callable[[], None]) -> Job:
        """Returns the job for an announcement.

        Raises:
            BadMessage: see `ticket`.
        """
        announced = Announced(self._decoded(record), done, record, self.may_be_repeated(record))
        announced.on_defect = partial(self._on_defect, announced)
        file = announced.file
        self.waiting.put(EndpointOfPool(file.system, self.host_of(file), file.system, file.endpoint), announced)
        return Job(file.system, partial(self._process_waiting, file.system))

    def _decoded(self, record: Record) -> FileFound:
        file = FileFound.decode(record.value or b"")
        if not self.knows(file.system):
            raise BadMessage(f"no system {file.system!r} is configured", record.value or b"")
        return file

    def _process_waiting(self, system: str) -> None:
        contained, more = self._contained(self._process_left), True
        while more and (group := self.waiting.take(system)):
            try:
                contained(group.items)
            finally:
                more = self.waiting.release(group)

    def _contained(self, handle: Callable[[Sequence[Announced]], None]) -> Contained[Announced]:
        return Contained(handle, self.renew, self._fail, self.budget, lambda a: a.origin, NO_RECORDS_FAULT)

    def _process_left(self, files: Sequence[Announced]) -> None:
        if left := [announced for announced in files if not announced.is_sent]:
            self.process(left)

    def _on_defect(self, announced: Announced, error: Exception) -> None:
        """Sets an announcement aside because of an error that came after the file was sent."""

        def fail(_: Sequence[Announced]) -> None:
            raise error

        announced.is_sent = False
        self._contained(fail)([announced])

    def _fail(self, announced: Announced, defect: Defect) -> None:
        """Sets an announcement aside and ends its file, which the tracker then moves to error/."""
        if announced.is_sent:
            return
        if announced.record is not None:
            self.letters.set_aside_defect(announced.record, defect)
        announced.is_sent = True
        self.publish(status_of(announced.file, "failed", time(), defect.reason), announced.done)
        metrics.PROCESSED.labels(announced.file.system, "failed").inc()
