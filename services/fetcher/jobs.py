"""From a message to the job it asks for."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from random import uniform
from time import sleep

from services.fetcher.dispatch import Job
from services.fetcher.epochs import Epochs
from services.fetcher.producer import KafkaProducerWorker
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle import Settler
from services.fetcher.worker import FileProcessorWorker
from shared.errors import Unreachable
from shared.kafka import Message, origin
from shared.messages import BadMessage, FileFound, Settle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchJobs:
    """Announced files, each to the pool of its system."""

    worker: FileProcessorWorker
    systems: Collection[str]
    epochs: Epochs = field(default_factory=Epochs)

    def __call__(self, message: Message) -> Job:
        """Raises BadMessage: not an announcement, or of a system this fetcher does not know."""
        file = FileFound.decode(message.value() or b"")
        if file.system not in self.systems:
            raise BadMessage(f"no system {file.system!r} is configured", message.value() or b"")
        if not self.epochs.current(file.system, origin(message)[1], file.epoch):
            return Job(file.system, partial(_drop, file))
        return Job(file.system, partial(self.worker, file))


def _drop(file: FileFound) -> None:
    """Its leader was followed by another, whose scans announce it when its lease ends."""
    log.warning("announcement of a former leader dropped", extra={"file": file.file_id, "epoch": file.epoch})


@dataclass(frozen=True)
class SettleJobs:
    """Commands to move files away."""

    settings: FetcherSettings
    settler: Settler
    out: KafkaProducerWorker

    def __call__(self, message: Message) -> Job:
        """Raises BadMessage."""
        return Job("moves", partial(self._settle, Settle.decode(message.value() or b"")))

    def _settle(self, command: Settle) -> None:
        for attempt in range(self.settings.attempts):
            try:
                self.out.status(self.settler.settle(command))
            except Unreachable as error:
                log.warning("move tried again", extra={"file": command.file_id, "reason": str(error)})
                sleep(self.settings.first_wait_s * 2**attempt * uniform(0.5, 1.5))
            else:
                return
        self.out.settle_later(command)
