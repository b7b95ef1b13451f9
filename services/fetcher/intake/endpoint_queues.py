"""Work that waits for a thread: that of one endpoint is taken together, and no host occupies all threads of a pool."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from services.fetcher.intake.host_share import share_of_host

ItemT = TypeVar("ItemT")


class EndpointOfPool(NamedTuple):
    """An endpoint, its host, and the pool of threads that works for it."""

    pool: str
    host: str
    system: str
    endpoint: str


class WorkGroup(NamedTuple, Generic[ItemT]):
    """Items of one endpoint that a thread has taken."""

    at: EndpointOfPool
    items: list[ItemT]


@dataclass
class _PoolQueues(Generic[ItemT]):
    waiting: dict[EndpointOfPool, deque[ItemT]] = field(default_factory=dict)
    """Queues in the order of their turns."""
    threads_at: Counter[EndpointOfPool | str] = field(default_factory=Counter)
    """Threads that work for an endpoint or a host now."""
    hosts: set[str] = field(default_factory=set)
    """Every host for which something has waited."""


@dataclass
class EndpointQueues(Generic[ItemT]):
    """The queue of each endpoint, in pools. Shared by the thread that adds items and the threads that take them.

    Endpoints are served in turn. A thread that finds nothing to take may end: one that occupied the host takes once
    more.
    """

    split: Callable[[deque[ItemT]], list[ItemT]]
    """Removes the items from the front of a queue that are taken together, at least one."""
    threads: Callable[[str], int]
    """Returns the number of threads of a pool."""
    one_thread_per_endpoint: bool = False
    pools: dict[str, _PoolQueues[ItemT]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def put(self, at: EndpointOfPool, item: ItemT) -> None:
        """Adds an item."""
        with self.lock:
            pool = self.pools.setdefault(at.pool, _PoolQueues())
            pool.hosts.add(at.host)
            pool.waiting.setdefault(at, deque()).append(item)

    def take(self, name: str) -> WorkGroup[ItemT] | None:
        """Removes and returns the oldest items of the next endpoint of a pool that may have one more thread.

        The calling thread must release them afterwards.
        """
        with self.lock:
            pool = self.pools.get(name)
            if pool is None:
                return None
            most = share_of_host(self.threads(name), len(pool.hosts))
            at = next((one for one in pool.waiting if self._is_free(pool, one, most)), None)
            if at is None:
                return None
            waiting = pool.waiting.pop(at)
            items = self.split(waiting)
            if waiting:
                pool.waiting[at] = waiting
            pool.threads_at.update((at, at.host))
            return WorkGroup(at, items)

    def release(self, group: WorkGroup[ItemT]) -> bool:
        """Makes the place of a thread free again. Returns True if more waits for the host.

        Threads may have found nothing to do because of it, so the calling thread must then take once more.
        """
        with self.lock:
            pool = self.pools[group.at.pool]
            for one in (group.at, group.at.host):
                pool.threads_at[one] -= 1
                if not pool.threads_at[one]:
                    del pool.threads_at[one]
            return any(at.host == group.at.host for at in pool.waiting)

    def _is_free(self, pool: _PoolQueues[ItemT], at: EndpointOfPool, most: int) -> bool:
        return pool.threads_at[at.host] < most and not (self.one_thread_per_endpoint and pool.threads_at[at])
