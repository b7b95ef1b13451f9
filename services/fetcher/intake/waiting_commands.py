"""Commands that wait for a thread. Those of one endpoint are taken together, and by one thread at a time."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.fetcher.intake.endpoint_queues import EndpointQueues
from shared.kafka.record import Record
from shared.messages import Settle

MOST_TOGETHER = 64
"""Most commands that are executed over one session before another endpoint has its turn."""


@dataclass(slots=True, eq=False)
class Commanded:
    """A command, and the function to call once its answer is durable."""

    command: Settle
    done: Callable[[], None]
    record: Record
    """The command's record, which is set aside if the code fails on it."""
    is_answered: bool = False
    """True once nothing is left to do but to wait until the answer is durable."""


WaitingCommands = EndpointQueues[Commanded]


def commands_together(waiting: deque[Commanded]) -> list[Commanded]:
    """Removes and returns the first commands that wait."""
    return [waiting.popleft() for _ in range(min(len(waiting), MOST_TOGETHER))]
