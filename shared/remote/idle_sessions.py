"""The idle sessions of a process, over all hosts, in the order in which they were given back."""

import resource
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from shared.inventory import Endpoint
from shared.remote.session import Session


@dataclass(eq=False, slots=True)
class IdleSession:
    """A session that waits to be used again."""

    endpoint: Endpoint
    host: tuple[str, int]
    session: Session
    since_s: float

    def is_stale(self, idle_s: float, now_s: float) -> bool:
        """Tells whether the session was idle for too long, or its server has closed it.

        Args:
            idle_s: the longest time, unless the entry of the element says another one.
            now_s: the time by the clock of `since_s`.
        """
        return now_s - self.since_s >= (self.endpoint.idle_s or idle_s) or not self.session.alive()


class IdleSessions:
    """The registry of idle sessions; thread-safe. It closes nothing: its owner takes what is to be closed."""

    def __init__(self, most: int) -> None:
        """Args: most: number of sessions to keep; at most half of the files that the process may open."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = most if files == resource.RLIM_INFINITY else min(most, files // 2)
        self.lock = Lock()
        self.sessions: OrderedDict[IdleSession, None] = OrderedDict()

    def add(self, idle: IdleSession) -> None:
        with self.lock:
            self.sessions[idle] = None

    def remove(self, idle: IdleSession) -> None:
        with self.lock:
            self.sessions.pop(idle, None)

    def surplus(self) -> Sequence[IdleSession]:
        """Returns the sessions above the limit, the least recently used."""
        with self.lock:
            count = len(self.sessions) - self.most
            return [idle for idle, _ in zip(self.sessions, range(count), strict=False)]

    def all(self) -> Sequence[IdleSession]:
        with self.lock:
            return list(self.sessions)
