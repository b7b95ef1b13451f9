"""Pools: separate threads for each system, as many as its settings currently specify."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.fetcher import metrics


@dataclass
class Pools:
    """Thread pools by name. Owned by the thread that submits.

    A pool whose size changes finishes the work it has; new work goes to a new pool.
    """

    sizes: Callable[[], Mapping[str, int]]
    """Returns the current number of threads by name."""
    pools: dict[str, tuple[int, ThreadPoolExecutor]] = field(default_factory=dict)

    def submit(self, name: str, work: Callable[[], None]) -> None:
        """Queues work."""
        size = self.threads(name)
        if name not in self.pools or self.pools[name][0] != size:
            self._end(name)
            metrics.POOL_THREADS.labels(name).set(size)
            self.pools[name] = size, ThreadPoolExecutor(size, thread_name_prefix=name)
        self.pools[name][1].submit(_counted, name, work)

    def threads(self, name: str) -> int:
        """Returns the number of threads of a pool; one that is no longer configured continues with a single thread."""
        return self.sizes().get(name, 1)

    def close(self) -> None:
        """Waits for work in progress; queued work is discarded."""
        for _, pool in self.pools.values():
            pool.shutdown(cancel_futures=True)

    def _end(self, name: str) -> None:
        if name in self.pools:
            self.pools.pop(name)[1].shutdown(wait=False)


def _counted(name: str, work: Callable[[], None]) -> None:
    with metrics.POOL_BUSY.labels(name).track_inprogress():
        work()
