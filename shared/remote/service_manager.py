"""FtpServiceManager: sessions with elements, pooled per endpoint, for the scanner and the fetcher alike."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from shared.errors import Hopeless
from shared.inventory import Endpoint
from shared.remote import ftp, sftp
from shared.remote.local import LocalSession
from shared.remote.session import Session
from shared.settings import Remote

IDLE_S = 60.0
"""A session unused for so long is not trusted any more."""


def connect(endpoint: Endpoint, settings: Remote) -> Session:
    """A session by the endpoint's protocol.

    Raises:
        Unreachable: no connection, an identity that cannot be trusted, or login refused.
    """
    match endpoint.protocol:
        case "sftp":
            return sftp.connect(endpoint, settings)
        case "local":
            return LocalSession()
        case _:
            return ftp.connect(endpoint, settings)


class FtpServiceManager:
    """A pool of sessions per endpoint, bounded; a session that failed is closed, never handed out again."""

    def __init__(self, settings: Remote, now_s: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.now_s = now_s
        self.lock = Lock()
        self.idle: dict[Endpoint, list[tuple[float, Session]]] = defaultdict(list)
        self.places: dict[Endpoint, BoundedSemaphore] = {}

    @contextmanager
    def session(self, endpoint: Endpoint) -> Iterator[Session]:
        """A session of one's own for a while; waits when all connections of the endpoint are taken.

        Raises:
            Unreachable: no connection, or what the session raised.
        """
        with self._place(endpoint):
            session = self._idle(endpoint) or connect(endpoint, self.settings)
            try:
                yield session
            except Hopeless:
                self._keep(endpoint, session)  # an answer, if a bad one: the line is in order
                raise
            except BaseException:
                session.close()
                raise
            self._keep(endpoint, session)

    def _place(self, endpoint: Endpoint) -> BoundedSemaphore:
        with self.lock:
            return self.places.setdefault(endpoint, BoundedSemaphore(self.settings.connections_per_host))

    def _keep(self, endpoint: Endpoint, session: Session) -> None:
        with self.lock:
            self.idle[endpoint].append((self.now_s(), session))

    def _idle(self, endpoint: Endpoint) -> Session | None:
        with self.lock:
            while self.idle[endpoint]:
                since_s, session = self.idle[endpoint].pop()
                if self.now_s() - since_s < IDLE_S and session.alive():
                    return session
                session.close()
        return None

    def close(self) -> None:
        with self.lock:
            for sessions in self.idle.values():
                for _, session in sessions:
                    session.close()
            self.idle.clear()
