"""Decodes announcements, and returns the job for each."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import time

from services.fetcher import metrics
from services.fetcher.intake.dispatch import Job
from services.fetcher.intake.epochs import Epochs
from services.fetcher.intake.waiting_files import Announced, WaitingFiles
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import Record
from shared.messages import BadMessage, FileFound, FileStatus, status_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchJobs:
    """Assigns each announced file to the pool of its system.

    A thread takes a file together with others that wait for the same endpoint. If another thread has taken its file
    that way, it finds nothing to do.
    """

    process: Callable[[Sequence[Announced]], None]
    """Fetches, parses and publishes files of one endpoint; see `FileProcessorWorker`."""
    knows: Callable[[str], bool]
    """Returns True if a system is configured."""
    waiting: WaitingFiles
    publish: Callable[[FileStatus], None]
    """Blocks until a status is durable; raises Unreachable."""
    letters: DeadLetters
    budget: DefectBudget = field(default_factory=DefectBudget)
    renew: Callable[[], None] = nothing_to_renew
    """Forgets what may be outdated of elements."""
    epochs: Epochs = field(default_factory=Epochs)
    may_be_repeated: Callable[[Record], bool] = lambda _: False
    """Returns True if an announcement may have been processed before; called for each record, in order."""

    def __call__(self, record: Record, done: Callable[[], None]) -> Job:
        """Returns the job for an announcement.

        Raises:
            BadMessage: not an announcement, or its system is not configured.
        """
        again = self.may_be_repeated(record)
        file = FileFound.decode(record.value or b"")
        if not self.knows(file.system):
            raise BadMessage(f"no system {file.system!r} is configured", record.value or b"")
        # A backfill is announced without a leader.
        if not file.lies_at and not self.epochs.current(file.system, record.partition, file.epoch):
            return Job(file.system, partial(_discard, file, done))
        self.waiting.put(Announced(file, done, record, again))
        return Job(file.system, partial(self._process_near, file))

    def _process_near(self, file: FileFound) -> None:
        contained = Contained(
            self._process_left, self.renew, self._fail, self.budget, lambda a: a.origin, NO_RECORDS_FAULT
        )
        contained(self.waiting.take(file))

    def _process_left(self, files: Sequence[Announced]) -> None:
        if left := [announced for announced in files if not announced.is_done]:
            self.process(left)

    def _fail(self, announced: Announced, defect: Defect) -> None:
        """Sets an announcement aside and ends its file, which the tracker then moves to error/."""
        if announced.is_done:
            return
        if announced.record is not None:
            self.letters.set_aside_defect(announced.record, defect)
        self.publish(status_of(announced.file, "failed", time(), defect.reason))
        announced.done()
        metrics.PROCESSED.labels(announced.file.system, "failed").inc()


def _discard(file: FileFound, done: Callable[[], None]) -> None:
    """Discards an announcement of a former leader; the current one announces the file again when its lease ends."""
    log.warning("announcement of a former leader discarded", extra={"file": file.file_id, "epoch": file.epoch})
    done()
