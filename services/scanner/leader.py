"""Leadership of a system, by ZooKeeper: the only module that imports kazoo.

A lock makes duplicates rare, not impossible: a paused leader may wake up late. So each term has an epoch that only
rises, every announcement carries it, and readers drop lower ones.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import orjson
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, LockTimeout, NoNodeError

from shared.errors import Unreachable

log = logging.getLogger(__name__)
ROOT = "/pmflow/leader"
TOLD = "/pmflow/scanner"
CONNECT_S = 5.0
"""A start waits so long for ZooKeeper, which spares warnings."""


@dataclass(frozen=True)
class Term:
    """A time of leadership. Once `over` is set nothing more may be announced in it."""

    epoch: int
    over: Event = field(default_factory=Event)


class Leadership:
    """One session with ZooKeeper, shared by all systems of a scanner."""

    def __init__(self, hosts: str, name: str) -> None:
        self.name = name
        self.client = KazooClient(hosts, timeout=10.0)
        self.client.start_async().wait(CONNECT_S)  # goes on trying by itself

    def hold(
        self, system: str, work: Callable[[Term], None], stop: Event, waiting: Callable[[], None] = lambda: None
    ) -> None:
        """Wait to lead a system, then work until the term ends; return then, leading or not.

        Who stands by calls `waiting` each second: that is its sign of life.

        SUSPENDED ends the term at once: another may lead before we hear of it.
        """
        lock = self.client.Lock(f"{ROOT}/{system}", self.name)
        try:
            if not self._acquired(lock, stop, waiting):
                return
            term = Term(self.client.exists(f"{ROOT}/{system}/{lock.node}").czxid)
        except KazooException as error:
            log.warning("no leadership", extra={"system": system, "reason": repr(error)})
            stop.wait(1.0)
            return
        try:
            self._work(system, work, term)
        finally:
            with suppress(KazooException):  # lost with the session: nothing to give back
                lock.release()

    def _acquired(self, lock: object, stop: Event, waiting: Callable[[], None]) -> bool:
        while not stop.is_set():
            waiting()
            with suppress(LockTimeout):
                return bool(lock.acquire(timeout=1.0))  # type: ignore[attr-defined]
        return False

    def _work(self, system: str, work: Callable[[Term], None], term: Term) -> None:
        def watch(state: str) -> None:
            if state != KazooState.CONNECTED:
                term.over.set()

        self.client.add_listener(watch)
        watch(self.client.state)
        log.info("leading", extra={"system": system, "epoch": term.epoch})
        try:
            work(term)
        finally:
            self.client.remove_listener(watch)
            log.info("leads no more", extra={"system": system, "epoch": term.epoch})

    def tell(self, system: str, **what: object) -> None:
        """What this scanner does with a system, for `pmflow status`; gone when the scanner is."""
        path = f"{TOLD}/{system}/{self.name}"
        value = orjson.dumps({"scanner": self.name, "system": system, **what})
        try:
            if self.client.exists(path):
                self.client.set(path, value)
            else:
                self.client.create(path, value, ephemeral=True, makepath=True)
        except KazooException as error:
            log.warning("state not told", extra={"system": system, "reason": repr(error)})

    def tell_no_more(self, system: str) -> None:
        """The scanner has nothing to do with the system any more."""
        with suppress(KazooException):
            self.client.delete(f"{TOLD}/{system}/{self.name}")

    def close(self) -> None:
        """Ends the session: other scanners lead at once."""
        self.client.stop()
        self.client.close()


def told(hosts: str, timeout_s: float = 10.0) -> list[dict[str, Any]]:
    """What each scanner says of each system (`Leadership.tell`), leaders and those who wait.

    Raises:
        Unreachable: ZooKeeper does not answer.
    """
    client = KazooClient(hosts, timeout=timeout_s)
    try:
        client.start(timeout_s)
        return list(_states(client))
    except (KazooException, client.handler.timeout_exception) as error:
        raise Unreachable(f"ZooKeeper {hosts}: {error!r}") from error
    finally:
        client.stop()
        client.close()


def _states(client: KazooClient) -> Iterator[dict[str, Any]]:
    for system in sorted(client.get_children(TOLD)) if client.exists(TOLD) else []:
        for name in client.get_children(f"{TOLD}/{system}"):
            with suppress(NoNodeError):  # it ended since it was listed
                yield orjson.loads(client.get(f"{TOLD}/{system}/{name}")[0])
