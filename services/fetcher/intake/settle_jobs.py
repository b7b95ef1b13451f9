"""Executes commands to move finished files away: those of one endpoint together, each with an answer of its own."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import sleep, time

from services.fetcher import metrics
from services.fetcher.elements import name_of_endpoint
from services.fetcher.intake.endpoint_queues import EndpointOfPool
from services.fetcher.intake.topic_intake import Job
from services.fetcher.intake.waiting_commands import Commanded, WaitingCommands, commands_together
from services.fetcher.intake.waiting_records import Ticket
from services.fetcher.settings import LONGEST_WAIT_S, FetcherSettings
from shared.backoff import backoff_s
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.errors import Unreachable
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import Record
from shared.messages import File, FileStatus, Settle, bounded_text
from shared.remote.session import Denied

log = logging.getLogger(__name__)
POOL_OF_MOVERS = "moves"
"""The pool of the threads that move files."""


@dataclass(frozen=True)
class SettleJobs:
    """Assigns each command to a pool of threads that all endpoints share.

    A thread takes the commands of an endpoint that wait. If its own was taken that way, it finds nothing to do. One
    thread at a time works for an endpoint, and a host occupies only its share of the threads, so that one that hangs
    leaves the others theirs.
    """

    settings: FetcherSettings
    settle: Callable[[Sequence[Settle]], list[FileStatus | Unreachable]]
    """Moves files of one endpoint; see `Settler`."""
    publish: Callable[[FileStatus, Callable[[], None]], None]
    """Publishes a status; calls the function once it is durable."""
    letters: DeadLetters
    budget: DefectBudget = field(default_factory=DefectBudget)
    renew: Callable[[], None] = nothing_to_renew
    """Forgets what may be outdated of elements."""
    host_of: Callable[[File], str] = name_of_endpoint
    """Returns the host of a file."""
    waiting: WaitingCommands = field(init=False)

    def __post_init__(self) -> None:
        threads = self.settings.movers
        waiting = WaitingCommands(commands_together, lambda _: threads, one_thread_per_endpoint=True)
        object.__setattr__(self, "waiting", waiting)

    def ticket(self, record: Record) -> Ticket:
        """Returns where a command waits: a later one for the same file replaces it.

        Raises:
            BadMessage: not a command.
        """
        command = Settle.decode(record.value or b"")
        return Ticket(POOL_OF_MOVERS, command.file_id, record.offset, self.host_of(command.status))

    def __call__(self, record: Record, done: Callable[[], None]) -> Job:
        """Returns the job for a command.

        Raises:
            BadMessage: not a command.
        """
        command = Settle.decode(record.value or b"")
        status = command.status
        at = EndpointOfPool(POOL_OF_MOVERS, self.host_of(status), status.system, status.endpoint)
        self.waiting.put(at, Commanded(command, done, record))
        return Job(POOL_OF_MOVERS, self._execute_waiting)

    def _execute_waiting(self) -> None:
        contained = Contained(
            self._execute, self.renew, self._fail, self.budget, lambda c: c.record.origin, NO_RECORDS_FAULT
        )
        more = True
        while more and (group := self.waiting.take(POOL_OF_MOVERS)):
            try:
                contained(group.items)
            finally:
                more = self.waiting.release(group)

    def _execute(self, commands: Sequence[Commanded]) -> None:
        """Tries a few times. If all fail, the answer says so, and the tracker repeats the command later."""
        left = [commanded for commanded in commands if not commanded.is_answered]
        for attempt in range(1, self.settings.attempts + 1):
            refused = []
            for commanded, outcome in zip(left, self.settle([c.command for c in left]), strict=True):
                if isinstance(outcome, FileStatus):
                    self._answer(commanded, outcome)
                else:
                    refused.append((commanded, outcome))
            is_last = attempt == self.settings.attempts
            for commanded, why in refused:
                _log_refusal(commanded.command, attempt, why, is_last=is_last)
                if is_last:
                    self._answer(commanded, _not_moved(commanded.command.status, str(why)))
            left = [commanded for commanded, _ in refused]
            if is_last or not left:
                return
            sleep(backoff_s(attempt, self.settings.first_wait_s, LONGEST_WAIT_S))

    def _answer(self, commanded: Commanded, status: FileStatus) -> None:
        commanded.is_answered = True
        self.publish(status, commanded.done)

    def _fail(self, commanded: Commanded, defect: Defect) -> None:
        """Sets a command aside; its file counts as not moved."""
        if not commanded.is_answered:
            self.letters.set_aside_defect(commanded.record, defect)
            self._answer(commanded, _not_moved(commanded.command.status, defect.reason))


def _log_refusal(command: Settle, attempt: int, why: Unreachable, *, is_last: bool) -> None:
    metrics.MOVES_FAILED.inc()
    level = logging.ERROR if is_last and isinstance(why, Denied) else logging.WARNING
    event = "file not moved, left for a later command" if is_last else "file not moved, retrying"
    log.log(level, event, extra={"file": command.file_id, "attempt": attempt, "reason": str(why)})


def _not_moved(status: FileStatus, reason: str) -> FileStatus:
    """Returns the status of a file that stays where it is for now; its stage, figures and reason are unchanged."""
    return replace(status, at_s=time(), moves_refused=status.moves_refused + 1, not_moved=bounded_text(reason))
