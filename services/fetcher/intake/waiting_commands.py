"""Commands that wait for a thread. Those of one endpoint are taken together, and by one thread at a time."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from shared.kafka.record import Record
from shared.messages import Settle


@dataclass(slots=True, eq=False)
class Commanded:
    """A command, and the function to call once its answer is durable."""

    command: Settle
    done: Callable[[], None]
    record: Record
    """The command's record, which is set aside if the code fails on it."""
    is_answered: bool = False
    """True once nothing is left to do but to wait until the answer is durable."""

    @property
    def endpoint(self) -> tuple[str, str]:
        return self.command.status.system, self.command.status.endpoint


@dataclass
class WaitingCommands:
    """The queue of each endpoint. Shared by the thread that reads commands and the threads that execute them.

    Endpoints are served in turn. One thread at a time works on an endpoint, so that one that hangs occupies no other.
    """

    max_commands: int
    """Most commands that are taken together."""
    of_endpoint: dict[tuple[str, str], deque[Commanded]] = field(default_factory=dict)
    """Queues by endpoint, in the order of their turns."""
    busy: set[tuple[str, str]] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def put(self, commanded: Commanded) -> None:
        with self.lock:
            self.of_endpoint.setdefault(commanded.endpoint, deque()).append(commanded)

    def take(self) -> list[Commanded]:
        """Removes and returns the oldest commands of the next endpoint that is free; none if there is none.

        The endpoint is busy until they are released.
        """
        with self.lock:
            endpoint = next((one for one in self.of_endpoint if one not in self.busy), None)
            if endpoint is None:
                return []
            self.busy.add(endpoint)
            waiting = self.of_endpoint.pop(endpoint)
            taken = [waiting.popleft() for _ in range(min(len(waiting), self.max_commands))]
            if waiting:
                self.of_endpoint[endpoint] = waiting
            return taken

    def release(self, taken: list[Commanded]) -> bool:
        """Makes their endpoint free again. Returns True if more of its commands wait.

        Threads may have found nothing to do because of it, so the calling thread must then take once more.
        """
        with self.lock:
            self.busy.discard(taken[0].endpoint)
            return taken[0].endpoint in self.of_endpoint
