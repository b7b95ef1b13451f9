"""FtpServiceManager: the pool of sessions with elements, for the scanner and the fetcher.

The number of connections is bounded per host, however many elements a host serves. Idle sessions are kept for the next
scan, up to a number for the whole process. A host that does not respond is not contacted for a while.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from random import random
from threading import Condition, Event, Lock, Thread

from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote.breaker import Breaker
from shared.remote.deadlines import Deadlines
from shared.remote.ftp import connect_ftp
from shared.remote.idle_sessions import IdleSession, IdleSessions
from shared.remote.local import LocalSession
from shared.remote.session import Denied, LoginRefused, Session, Traffic
from shared.remote.sftp import connect_sftp
from shared.settings import Remote

REAP_S = 5.0
"""Interval of the checks for idle sessions that are too old or closed by their server."""
FORGET_AFTER_S = 86_400.0
"""The statistics of a host that nobody asked for are dropped after this time: it may have left the inventory."""
CHECK_AFTER_S = 15.0
"""A session idle for this long is tested before it is reused: the other end may have disappeared."""


def open_session(endpoint: Endpoint, settings: Remote) -> Session:
    """Opens a session by the protocol of the endpoint.

    Raises:
        Unreachable: no connection, or the identity of the host cannot be verified.
        LoginRefused: the host rejected the login.
    """
    match endpoint.protocol:
        case "sftp":
            return connect_sftp(endpoint, settings)
        case "local":
            return LocalSession(endpoint.directories(time.time()))
        case _:
            return connect_ftp(endpoint, settings)


@dataclass
class HostStatistics:
    """Counts for one host since the process started."""

    connected: int = 0
    reused: int = 0
    failed: int = 0
    refused: int = 0
    """Sessions refused by the breaker, without contacting the host."""
    waited: int = 0
    """Waits for a slot because all connections were in use."""
    gave_up: int = 0
    """Waits for a slot that timed out."""
    found_dead: int = 0
    """Idle sessions that did not respond to a check."""
    evicted: int = 0
    """Idle sessions closed because the process had too many."""
    in_use_s: float = 0.0
    in_use: int = 0
    """Sessions in use now."""
    idle: int = 0
    """Idle sessions now."""
    waiting: int = 0
    """Threads waiting for a session now."""
    traffic: Traffic = field(default_factory=Traffic)
    """Traffic of sessions that were returned to the pool."""


@dataclass
class _Host:
    """State shared by the sessions of one host."""

    limit: int
    changed: Condition = field(default_factory=Condition)
    open: int = 0
    """Number of sessions, in use and idle."""
    used_s: float = 0.0
    """Time at which a session was last asked for."""
    idle: list[IdleSession] = field(default_factory=list)
    waiting: deque[object] = field(default_factory=deque)
    """Threads waiting for a slot, first come, first served."""
    breaker: Breaker = field(default_factory=Breaker)
    statistics: HostStatistics = field(default_factory=HostStatistics)


class FtpServiceManager:
    """The session pool of a process, shared by its threads."""

    def __init__(
        self,
        settings: Remote,
        now_s: Callable[[], float] = time.monotonic,
        connect: Callable[[Endpoint, Remote], Session] = open_session,
        at_most_s: float | None = None,
        limit: Callable[[Endpoint], int] | None = None,
    ) -> None:
        """Creates a pool without sessions.

        Args:
            settings: the section `elements`.
            now_s: the clock.
            connect: opens a session.
            at_most_s: a session lent for longer is aborted, whatever its element does.
            limit: returns how many connections to the host of an endpoint this process may have; by default all.
        """
        self.settings = settings
        self.limit = limit or (lambda endpoint: endpoint.connections or settings.connections_per_host)
        self.keeps: Callable[[Endpoint], bool] = lambda _: True
        """Returns False for an endpoint with which unused sessions are closed at once."""
        self.deadlines = None if at_most_s is None else Deadlines(at_most_s)
        self.now_s = now_s
        self.connect = connect
        self.lock = Lock()
        self.hosts: dict[tuple[str, int], _Host] = {}
        self.idle = IdleSessions(settings.idle_connections)
        self.reaper: Thread | None = None
        self.closing = Event()

    @contextmanager
    def session(self, endpoint: Endpoint) -> Iterator[Session]:
        """Lends a session to the calling thread; waits while all connections to the host are in use.

        Raises:
            Unreachable: no connection, the breaker of the host is open, or the session itself raised it.
        """
        host = self._host(endpoint)
        session = self._take(host, endpoint)
        began_s = self.now_s()
        try:
            with self.deadlines.limit(session, endpoint) if self.deadlines else nullcontext():
                yield session
        except (Hopeless, Denied):
            self._count(host, session, began_s)
            self._give_back(host, endpoint, session)  # a negative response: the connection still works
            raise
        except BaseException:
            self._count(host, session, began_s)
            self._discard(host, session)
            raise
        self._count(host, session, began_s)
        self._give_back(host, endpoint, session)

    def statistics(self) -> dict[str, tuple[str, HostStatistics]]:
        """Returns for each "host:port" the state of its breaker and its counts."""
        with self.lock:
            hosts = list(self.hosts.items())
        for _, host in hosts:
            with host.changed:
                host.statistics.idle = len(host.idle)
                host.statistics.in_use = host.open - len(host.idle)
                host.statistics.waiting = len(host.waiting)
        return {f"{at[0]}:{at[1]}": (host.breaker.state(self.now_s()), host.statistics) for at, host in hosts}

    def close_idle(self, is_closed: Callable[[Endpoint], bool]) -> None:
        """Closes the idle sessions with some endpoints, so that another process may connect to them."""
        self._close_all([idle for idle in self.idle.all() if is_closed(idle.endpoint)])

    def close(self) -> None:
        """Closes the idle sessions. Sessions in use are not affected."""
        self._close_all(self.idle.all())
        self.closing.set()

    def reap(self) -> None:
        """Closes the idle sessions that are too old or that their server has closed, and forgets unused hosts."""
        now_s, idle_s = self.now_s(), self.settings.idle_s
        self._close_all([idle for idle in self.idle.all() if idle.is_stale(idle_s, now_s)])
        with self.lock:
            for at, host in list(self.hosts.items()):
                if now_s - host.used_s >= FORGET_AFTER_S and not host.open and not host.waiting:
                    del self.hosts[at]

    def _close_all(self, sessions: Iterable[IdleSession], *, are_surplus: bool = False) -> None:
        """Closes sessions unless they were taken meanwhile."""
        for idle in sessions:
            host = self.hosts[idle.host]
            with host.changed:
                if idle in host.idle:
                    self._close_idle(host, idle)
                    host.statistics.evicted += are_surplus
                    host.changed.notify_all()

    def _close_idle(self, host: _Host, idle: IdleSession) -> None:
        """Closes an idle session and frees its slot. The caller holds the host's lock."""
        self._take_idle(host, idle)
        host.open -= 1
        idle.session.close()

    def _take_idle(self, host: _Host, idle: IdleSession) -> None:
        host.idle.remove(idle)
        self.idle.remove(idle)

    def _start_reaper(self) -> None:
        """Starts the thread that closes old sessions, whose hosts may never be asked for again."""
        with self.lock:
            if self.reaper is None or not self.reaper.is_alive():
                self.reaper = Thread(target=self._reap_until_empty, name="idle sessions", daemon=True)
                self.reaper.start()

    def _reap_until_empty(self) -> None:
        while True:
            self.closing.wait(min(REAP_S, self.settings.idle_s))
            self.closing.clear()
            self.reap()
            with self.lock:
                if not self.idle.all():
                    self.reaper = None
                    return

    def _host(self, endpoint: Endpoint) -> _Host:
        with self.lock:
            at = endpoint.host, endpoint.port
            host = self.hosts.setdefault(at, _Host(0))
            host.used_s = self.now_s()
            host.limit = self.limit(endpoint)
            return host

    def _take(self, host: _Host, endpoint: Endpoint) -> Session:
        """Returns an idle session that still responds, or a new one."""
        while (idle := self._reserve_slot(host, endpoint)) is not None:
            idle.session.own()
            if self.now_s() - idle.since_s < CHECK_AFTER_S or self._responds(idle.session):
                host.statistics.reused += 1
                return idle.session
            host.statistics.found_dead += 1
            self._discard(host, idle.session)
        return self._connect(host, endpoint)

    @staticmethod
    def _responds(session: Session) -> bool:
        try:
            session.check()
        except (Unreachable, Hopeless):
            return False
        return True

    def _reserve_slot(self, host: _Host, endpoint: Endpoint) -> IdleSession | None:
        """Returns an idle session with this endpoint's login, or None after reserving a slot for a new connection.

        If all slots are taken, the oldest idle session of another login is closed to free one.

        Raises:
            Unreachable: the breaker of the host is open, or no slot became free in time.
        """
        me, until_s = object(), time.monotonic() + self.settings.wait_s
        with host.changed:
            host.waiting.append(me)
            try:
                while host.waiting[0] is not me or not self._has_slot(host):
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

    def _has_slot(self, host: _Host) -> bool:
        self._close_unwanted(host)
        return host.open < host.limit or bool(host.idle)

    def _occupy(self, host: _Host, endpoint: Endpoint) -> IdleSession | None:
        """Takes the newest idle session of this login, or a slot. The caller has checked that one is available."""
        login = endpoint.login
        mine = next((idle for idle in reversed(host.idle) if idle.endpoint.login == login), None)
        if mine is not None:
            self._take_idle(host, mine)
            return mine
        if not host.breaker.may_try(self.now_s()):
            host.statistics.refused += 1
            raise Unreachable(f"{endpoint!r}: paused after {host.breaker.failures} consecutive failures, retried later")
        if host.open >= host.limit:
            self._close_idle(host, host.idle[0])
        host.open += 1
        return None

    def _connect(self, host: _Host, endpoint: Endpoint) -> Session:
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

    def _close_unwanted(self, host: _Host) -> None:
        """Closes the idle sessions that are too old, and the oldest beyond a limit that has fallen."""
        now_s, idle_s = self.now_s(), self.settings.idle_s
        for idle in list(host.idle):
            if idle.is_stale(idle_s, now_s) or host.open > host.limit:
                self._close_idle(host, idle)

    def _count(self, host: _Host, session: Session, began_s: float) -> None:
        with host.changed:
            host.statistics.in_use_s += self.now_s() - began_s
            host.statistics.traffic.add(session.traffic)
        session.traffic = Traffic()

    def _give_back(self, host: _Host, endpoint: Endpoint, session: Session) -> None:
        if host.open > host.limit or not self.keeps(endpoint):
            self._discard(host, session)
            return
        idle = IdleSession(endpoint, (endpoint.host, endpoint.port), session, self.now_s())
        with host.changed:
            host.idle.append(idle)
            self.idle.add(idle)
            host.changed.notify_all()
        self._close_all(self.idle.surplus(), are_surplus=True)
        self._start_reaper()

    @staticmethod
    def _discard(host: _Host, session: Session) -> None:
        session.close()
        with host.changed:
            host.open -= 1
            host.changed.notify_all()
