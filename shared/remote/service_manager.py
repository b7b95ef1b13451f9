"""FtpServiceManager: sessions with elements, for the scanner and the fetcher alike.

Bounded per host, however many elements one host serves; idle sessions are handed out again; a host that does not answer
is left alone for a while.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import random
from threading import Condition, Lock

from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote import ftp, sftp
from shared.remote.breaker import Breaker
from shared.remote.local import LocalSession
from shared.remote.session import Denied, LoginRefused, Session
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


@dataclass
class Statistics:
    """Of one host, since the start."""

    connected: int = 0
    reused: int = 0
    failed: int = 0
    refused: int = 0
    """By the breaker, without asking the host."""
    waited: int = 0
    """For a place, as all were taken."""


@dataclass
class _Idle:
    endpoint: Endpoint
    since_s: float
    session: Session


@dataclass
class _Host:
    """What one host's sessions share."""

    limit: int
    changed: Condition = field(default_factory=Condition)
    open: int = 0
    """Sessions in use and idle."""
    idle: list[_Idle] = field(default_factory=list)
    breaker: Breaker = field(default_factory=Breaker)
    statistics: Statistics = field(default_factory=Statistics)


class FtpServiceManager:
    """The pool; one for a process, shared by its threads."""

    def __init__(
        self,
        settings: Remote,
        now_s: Callable[[], float] = time.monotonic,
        connect: Callable[[Endpoint, Remote], Session] = connect,
    ) -> None:
        self.settings = settings
        self.now_s = now_s
        self.connect = connect
        self.lock = Lock()
        self.hosts: dict[tuple[str, int], _Host] = {}

    @contextmanager
    def session(self, endpoint: Endpoint) -> Iterator[Session]:
        """A session of one's own for a while; waits when all of the host's are in use.

        Raises:
            Unreachable: no connection, the host is left alone now, or what the session raised.
        """
        host = self._host(endpoint)
        session = self._take(host, endpoint)
        session.own()
        try:
            yield session
        except (Hopeless, Denied):
            self._give_back(host, endpoint, session)  # an answer, if a bad one: the line is in order
            raise
        except BaseException:
            self._drop(host, session)
            raise
        self._give_back(host, endpoint, session)

    def statistics(self) -> dict[str, tuple[str, Statistics]]:
        """host:port -> state of the breaker, counts."""
        with self.lock:
            hosts = list(self.hosts.items())
        return {f"{at[0]}:{at[1]}": (host.breaker.state(self.now_s()), host.statistics) for at, host in hosts}

    def close(self) -> None:
        """End the idle sessions; those in use end with their users."""
        for host in self.hosts.values():
            with host.changed:
                for idle in host.idle:
                    idle.session.close()
                host.open -= len(host.idle)
                host.idle.clear()

    def _host(self, endpoint: Endpoint) -> _Host:
        with self.lock:
            at = endpoint.host, endpoint.port
            return self.hosts.setdefault(at, _Host(self.settings.connections_per_host))

    def _take(self, host: _Host, endpoint: Endpoint) -> Session:
        """An idle session of this endpoint; else a new one, in place of another's idle one if need be."""
        with host.changed:
            while True:
                self._close_stale(host)
                mine = next((idle for idle in host.idle if idle.endpoint == endpoint), None)
                if mine is not None:
                    host.idle.remove(mine)
                    host.statistics.reused += 1
                    return mine.session
                if not host.breaker.may_try(self.now_s()):
                    host.statistics.refused += 1
                    raise Unreachable(f"{endpoint!r}: left alone after {host.breaker.failures} failures in a row")
                if host.open >= host.limit and host.idle:
                    host.idle.pop(0).session.close()
                    host.open -= 1
                if host.open < host.limit:
                    host.open += 1
                    break
                host.breaker.probing = False
                host.statistics.waited += 1
                host.changed.wait()
        return self._connected(host, endpoint)

    def _connected(self, host: _Host, endpoint: Endpoint) -> Session:
        try:
            session = self.connect(endpoint, self.settings)
        except BaseException as error:
            with host.changed:
                host.open -= 1
                host.statistics.failed += 1
                if isinstance(error, LoginRefused):
                    host.breaker.succeeded()
                else:
                    host.breaker.failed(self.now_s(), random())  # noqa: S311 - jitter
                host.changed.notify()
            raise
        with host.changed:
            host.statistics.connected += 1
            host.breaker.succeeded()
        return session

    def _close_stale(self, host: _Host) -> None:
        for idle in [i for i in host.idle if self.now_s() - i.since_s >= IDLE_S or not i.session.alive()]:
            host.idle.remove(idle)
            host.open -= 1
            idle.session.close()

    def _give_back(self, host: _Host, endpoint: Endpoint, session: Session) -> None:
        with host.changed:
            host.idle.append(_Idle(endpoint, self.now_s(), session))
            host.changed.notify()

    @staticmethod
    def _drop(host: _Host, session: Session) -> None:
        session.close()
        with host.changed:
            host.open -= 1
            host.changed.notify()
