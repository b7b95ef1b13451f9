"""From a message to the job it asks for."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import sleep

from services.fetcher import metrics
from services.fetcher.intake.dispatch import Job
from services.fetcher.intake.epochs import Epochs
from services.fetcher.intake.waiting import Announced, Waiting
from services.fetcher.settings import LONGEST_WAIT_S, FetcherSettings
from shared.backoff import backoff_s
from shared.errors import Unreachable
from shared.kafka.record import Record
from shared.messages import BadMessage, FileFound, FileStatus, Settle
from shared.remote.session import Denied

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchJobs:
    """Announced files, each to the pool of its system.

    A thread takes with a file those that wait for the same endpoint; it finds nothing to do when its own was taken so.
    """

    process: Callable[[Sequence[Announced]], None]
    """See `FileProcessorWorker`."""
    knows: Callable[[str], bool]
    """Whether a system is configured."""
    waiting: Waiting
    epochs: Epochs = field(default_factory=Epochs)

    def __call__(self, record: Record, done: Callable[[], None]) -> Job:
        """Raises BadMessage: not an announcement, or of a system this fetcher does not know."""
        file = FileFound.decode(record.value or b"")
        if not self.knows(file.system):
            raise BadMessage(f"no system {file.system!r} is configured", record.value or b"")
        # A backfill is no leader's.
        if not file.lies_at and not self.epochs.current(file.system, record.partition, file.epoch):
            return Job(file.system, partial(_drop, file, done))
        self.waiting.put(Announced(file, done))
        return Job(file.system, partial(self._process_near, file))

    def _process_near(self, file: FileFound) -> None:
        if files := self.waiting.take(file):
            self.process(files)


def _drop(file: FileFound, done: Callable[[], None]) -> None:
    """Its leader was followed by another, whose scans announce it when its lease ends."""
    log.warning("announcement of a former leader dropped", extra={"file": file.file_id, "epoch": file.epoch})
    done()


@dataclass(frozen=True)
class SettleJobs:
    """Commands to move files away."""

    settings: FetcherSettings
    settle: Callable[[Settle], FileStatus]
    """Moves the file; raises Unreachable, Denied."""
    publish: Callable[[FileStatus], None]
    """Blocks until the status is durable; raises Unreachable."""

    def __call__(self, record: Record, done: Callable[[], None]) -> Job:
        """Raises BadMessage."""
        return Job("moves", partial(self._carry_out, Settle.decode(record.value or b""), done))

    def _carry_out(self, command: Settle, done: Callable[[], None]) -> None:
        """Tried a few times; then the tracker, who hears nothing, gives the command again when its lease ends."""
        for attempt in range(1, self.settings.attempts + 1):
            try:
                self.publish(self.settle(command))
            except Unreachable as error:
                metrics.MOVES_FAILED.inc()
                last = attempt == self.settings.attempts
                level = logging.ERROR if last and isinstance(error, Denied) else logging.WARNING
                event = "file not moved, to be tried later" if last else "move tried again"
                log.log(level, event, extra={"file": command.file_id, "attempt": attempt, "reason": str(error)})
                if not last:
                    sleep(backoff_s(attempt, self.settings.first_wait_s, LONGEST_WAIT_S))
            else:
                break
        done()
