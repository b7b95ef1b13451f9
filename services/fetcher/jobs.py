"""From a message to the job it asks for."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import sleep

from services.fetcher.dispatch import Job
from services.fetcher.epochs import Epochs
from services.fetcher.producer import KafkaProducerWorker
from services.fetcher.settings import LONGEST_WAIT_S, FetcherSettings
from services.fetcher.settle import Settler
from services.fetcher.waiting import Announced, Waiting
from shared import metrics
from shared.backoff import backoff_s
from shared.errors import Unreachable
from shared.kafka import Message, origin
from shared.messages import BadMessage, FileFound, Settle
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

    def __call__(self, message: Message, done: Callable[[], None]) -> Job:
        """Raises BadMessage: not an announcement, or of a system this fetcher does not know."""
        file = FileFound.decode(message.value() or b"")
        if not self.knows(file.system):
            raise BadMessage(f"no system {file.system!r} is configured", message.value() or b"")
        partition = origin(message)[1]  # a backfill is no leader's
        if not file.lies_at and not self.epochs.current(file.system, partition, file.epoch):
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
    settler: Settler
    out: KafkaProducerWorker

    def __call__(self, message: Message, done: Callable[[], None]) -> Job:
        """Raises BadMessage."""
        return Job("moves", partial(self._settle, Settle.decode(message.value() or b""), done))

    def _settle(self, command: Settle, done: Callable[[], None]) -> None:
        """Tried a few times; then the tracker, who hears nothing, gives the command again when its lease ends."""
        for attempt in range(1, self.settings.attempts + 1):
            try:
                self.out.status(self.settler.settle(command))
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
