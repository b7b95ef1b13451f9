"""FtpServiceManager: sessions with elements, for the scanner and the fetcher alike.

Bounded per host, however many elements one host serves; idle sessions are handed out again; a host that does not answer
is left alone for a while.
"""

import time
from collections import deque
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
from shared.remote.session import Denied, LoginRefused, Session, Traffic
from shared.settings import Remote

IDLE_S = 60.0
"""A session unused for so long is not trusted any more."""
CHECK_AFTER_S = 15.0
"""One unused for so long is asked for a sign of life first: the other half of a line may be gone."""


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
    gave_up: int = 0
    """Waiting for a place."""
    found_dead: int = 0
    """Idle sessions that gave no sign of life."""
    in_use_s: float = 0.0
    in_use: int = 0
    """Sessions, now."""
    idle: int = 0
    """Sessions, now."""
    waiting: int = 0
    """For a session, now."""
    traffic: Traffic = field(default_factory=Traffic)
    """Of sessions given back."""


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
    waiting: deque[object] = field(default_factory=deque)
    """First come, first served."""
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
        began_s = self.now_s()
        try:
            yield session
        except (Hopeless, Denied):
            self._count(host, session, began_s)
            self._give_back(host, endpoint, session)  # an answer, if a bad one: the line is in order
            raise
        except BaseException:
            self._count(host, session, began_s)
            self._drop(host, session)
            raise
        self._count(host, session, began_s)
        self._give_back(host, endpoint, session)

    def statistics(self) -> dict[str, tuple[str, Statistics]]:
        """host:port -> state of the breaker, counts."""
        with self.lock:
            hosts = list(self.hosts.items())
        for _, host in hosts:
            with host.changed:
                host.statistics.idle = len(host.idle)
                host.statistics.in_use = host.open - len(host.idle)
                host.statistics.waiting = len(host.waiting)
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
            host = self.hosts.setdefault(at, _Host(self.settings.connections_per_host))
            if endpoint.connections:
                host.limit = endpoint.connections  # the last entry of a host that sets one
            return host

    def _take(self, host: _Host, endpoint: Endpoint) -> Session:
        """An idle session that gives a sign of life, or a new one."""
        while (idle := self._place(host, endpoint)) is not None:
            idle.session.own()
            if self.now_s() - idle.since_s < CHECK_AFTER_S or self._lives(idle.session):
                host.statistics.reused += 1
                return idle.session
            host.statistics.found_dead += 1
            self._drop(host, idle.session)
        return self._connected(host, endpoint)

    @staticmethod
    def _lives(session: Session) -> bool:
        try:
            session.check()
        except (Unreachable, Hopeless):
            return False
        return True

    def _place(self, host: _Host, endpoint: Endpoint) -> _Idle | None:
        """An idle session of this endpoint; None: a place for a new one, of another's idle one if need be.

        Raises:
            Unreachable: the host is left alone now, or nobody gave a place back in time.
        """
        me, until_s = object(), time.monotonic() + self.settings.wait_s
        with host.changed:
            host.waiting.append(me)
            try:
                while host.waiting[0] is not me or not self._has_place(host):
                    host.statistics.waited += 1
                    if not host.changed.wait(until_s - time.monotonic()) and time.monotonic() >= until_s:
                        host.statistics.gave_up += 1
                        raise Unreachable(
                            f"{endpoint!r}: all {host.limit} connections to the host were in use for "
                            f"{self.settings.wait_s:.0f} s"
                        )
                return self._occupy(host, endpoint)
            finally:
                host.waiting.remove(me)
                host.changed.notify_all()

    def _has_place(self, host: _Host) -> bool:
        self._close_stale(host)
        return host.open < host.limit or bool(host.idle)

    def _occupy(self, host: _Host, endpoint: Endpoint) -> _Idle | None:
        mine = next((idle for idle in host.idle if idle.endpoint == endpoint), None)
        if mine is not None:
            host.idle.remove(mine)
            return mine
        if not host.breaker.may_try(self.now_s()):
            host.statistics.refused += 1
            raise Unreachable(f"{endpoint!r}: left alone after {host.breaker.failures} failures in a row")
        if host.open >= host.limit:
            host.idle.pop(0).session.close()
            host.open -= 1
        host.open += 1
        return None

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
                host.changed.notify_all()
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

    def _count(self, host: _Host, session: Session, began_s: float) -> None:
        with host.changed:
            host.statistics.in_use_s += self.now_s() - began_s
            host.statistics.traffic.add(session.traffic)
        session.traffic = Traffic()

    def _give_back(self, host: _Host, endpoint: Endpoint, session: Session) -> None:
        with host.changed:
            host.idle.append(_Idle(endpoint, self.now_s(), session))
            host.changed.notify_all()

    @staticmethod
    def _drop(host: _Host, session: Session) -> None:
        session.close()
        with host.changed:
            host.open -= 1
            host.changed.notify_all()
