"""Leader election of each system in ZooKeeper.

A lock makes duplicates rare but not impossible, as a paused leader may continue late. Therefore each term has an epoch
that only rises, every announcement carries it, and readers discard announcements with a lower one. It is the creation
transaction of the lock node, unless ZooKeeper was wiped and counts from the beginning again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event, Lock

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, LockTimeout, NoNodeError
from kazoo.protocol.states import KeeperState

from services.scanner.settings import Zookeeper
from services.scanner.state import SystemState
from services.scanner.zookeeper import ROOT_PATH, SESSION_S, protect, session, why_refused, zookeeper_client
from shared.health import OBSTACLES

log = logging.getLogger(__name__)
LOCKS_PATH = f"{ROOT_PATH}/leader"
STATES_PATH = f"{ROOT_PATH}/scanner"
EPOCHS_PATH = f"{ROOT_PATH}/epoch"
"""Holds the highest epoch of each system."""
HIGHEST_EPOCH = 2**63 - 1
GIVEN_UP = frozenset((KeeperState.AUTH_FAILED, KeeperState.CLOSED))
CONNECT_S = 5.0
"""Longest wait for ZooKeeper at the start; it avoids warnings about a connection that is still being made."""


@dataclass(frozen=True)
class Term:
    """A period of leadership. Nothing may be announced once `over` is set."""

    epoch: int
    over: Event = field(default_factory=Event)


class Leadership:
    """One session with ZooKeeper, shared by all systems of a scanner."""

    def __init__(self, settings: Zookeeper, name: str) -> None:
        self.settings = settings
        self.name = name
        self.is_protected = False
        self.is_closed = False
        self.lock = Lock()
        self.client = self._new_client()
        self.client.start_async().wait(CONNECT_S)  # it continues to connect in the background

    def _new_client(self) -> KazooClient:
        client = zookeeper_client(self.settings)
        self._report_connection(client.state)
        client.add_listener(self._report_connection)
        return client

    def _report_connection(self, state: str) -> None:
        servers = self.settings.connection_string
        silent = f"ZooKeeper {servers} does not answer; check zookeeper.connectionString, or run `pmflow doctor`"
        OBSTACLES.report("zookeeper", "" if state == KazooState.CONNECTED else silent)

    def hold(
        self, system: str, work: Callable[[Term], None], stop: Event, on_standby: Callable[[], None] = lambda: None
    ) -> None:
        """Waits for the leadership of a system, then works until the term ends. Returns also if it was not obtained.

        A connection that is SUSPENDED ends the term at once: another scanner may lead before this one learns of it.

        Args:
            system: name of the system.
            work: called with the term; must return soon after the term is over.
            stop: ends the waiting.
            on_standby: called every second while waiting, as a heartbeat.
        """
        try:
            client = self._prepared(self.client)
            lock = client.Lock(f"{LOCKS_PATH}/{system}", self.name)
            if not self._acquired(lock, stop, on_standby):
                return
            term = Term(client.exists(f"{LOCKS_PATH}/{system}/{lock.node}").czxid)
        except KazooException as error:
            reason = str(why_refused(self.settings, error))
            log.warning("leader election failed", extra={"system": system, "reason": reason})
            stop.wait(1.0)
            return
        try:
            self._work(system, work, term)
        finally:
            with suppress(KazooException):  # the session and the lock are lost already
                lock.release()

    def raised(self, system: str, term: Term, known_epoch: int) -> Term:
        """Returns the term with an epoch above all earlier ones of the system, even if ZooKeeper was wiped since.

        Called by the leader of the system.

        Args:
            system: name of the system.
            term: its term.
            known_epoch: the highest epoch in the ledger.

        Raises:
            Unreachable: ZooKeeper does not respond.
        """
        path = f"{EPOCHS_PATH}/{system}"
        try:
            stored = _number(self.client.get(path)[0]) if self.client.exists(path) else 0
            raised = replace(term, epoch=min(max(term.epoch, known_epoch + 1, stored + 1), HIGHEST_EPOCH))
            self.client.ensure_path(path)
            self.client.set(path, b"%d" % raised.epoch)
        except KazooException as error:
            raise why_refused(self.settings, error) from error
        if raised != term:
            log.warning("epoch raised, ZooKeeper was wiped", extra={"system": system, "epoch": raised.epoch})
        return raised

    def _prepared(self, client: KazooClient) -> KazooClient:
        """Returns the client to use; protects nodes that are open, once.

        A client whose login was refused gives up for good, also when the server only ended during the login, so
        another one takes its place, with the password that the file has now.
        """
        with self.lock:
            if client is self.client and client.client_state in GIVEN_UP and not self.is_closed:
                client.stop()
                client.close()
                self.client = self._new_client()
                self.client.start_async().wait(CONNECT_S)
            if not self.is_protected and self.client.connected:
                protect(self.client, self.settings)
                self.is_protected = True
            return self.client

    def _acquired(self, lock: object, stop: Event, on_standby: Callable[[], None]) -> bool:
        while not stop.is_set():
            on_standby()
            with suppress(LockTimeout):
                return bool(lock.acquire(timeout=1.0))  # type: ignore[attr-defined]
        return False

    def _work(self, system: str, work: Callable[[Term], None], term: Term) -> None:
        def watch(state: str) -> None:
            if state != KazooState.CONNECTED:
                term.over.set()

        self.client.add_listener(watch)
        watch(self.client.state)
        log.info("leadership began", extra={"system": system, "epoch": term.epoch})
        try:
            work(term)
        finally:
            self.client.remove_listener(watch)
            log.info("leadership ended", extra={"system": system, "epoch": term.epoch})

    def report(self, state: SystemState) -> None:
        """Publishes what this scanner does with a system. The report disappears when the session ends."""
        path = f"{STATES_PATH}/{state.system}/{self.name}"
        value = replace(state, scanner=self.name).encode()
        try:
            if self.client.exists(path):
                self.client.set(path, value)
            else:
                self.client.create(path, value, ephemeral=True, makepath=True)
        except KazooException as error:
            log.warning("state not reported", extra={"system": state.system, "reason": repr(error)})

    def withdraw_report(self, system: str) -> None:
        """Deletes this scanner's report about a system."""
        with suppress(KazooException):
            self.client.delete(f"{STATES_PATH}/{system}/{self.name}")

    def close(self) -> None:
        """Ends the session, so that other scanners can take over at once."""
        with self.lock:
            self.is_closed = True
            self.client.stop()
            self.client.close()
        OBSTACLES.report("zookeeper", "")


def _number(stored: bytes) -> int:
    return int(stored) if stored.isdigit() else 0


def reported_states(settings: Zookeeper, timeout_s: float = SESSION_S) -> list[SystemState]:
    """Returns what each running scanner, leading or on standby, reports about each system.

    Raises:
        Unreachable: ZooKeeper does not respond, or refuses.
    """
    with session(settings, timeout_s) as client:
        return list(_states(client))


def _states(client: KazooClient) -> Iterator[SystemState]:
    for system in sorted(client.get_children(STATES_PATH)) if client.exists(STATES_PATH) else []:
        for name in client.get_children(f"{STATES_PATH}/{system}"):
            with suppress(NoNodeError):  # the scanner ended after its name was listed
                yield SystemState.decode(client.get(f"{STATES_PATH}/{system}/{name}")[0])
