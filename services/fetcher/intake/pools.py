"""Pools: threads of their own for each system, as many as its settings say now."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.fetcher import metrics


@dataclass
class Pools:
    """Owned by the thread that submits. A pool that is re-sized ends what it has; new work goes to its successor."""

    sizes: Callable[[], Mapping[str, int]]
    """Name -> threads, as it is now."""
    pools: dict[str, tuple[int, ThreadPoolExecutor]] = field(default_factory=dict)

    def submit(self, name: str, work: Callable[[], None]) -> None:
        """Hand over some work; one that nobody configures any more ends with a single thread."""
        size = self.sizes().get(name, 1)
        if name not in self.pools or self.pools[name][0] != size:
            self._end(name)
            metrics.POOL_THREADS.labels(name).set(size)
            self.pools[name] = size, ThreadPoolExecutor(size, thread_name_prefix=name)
        self.pools[name][1].submit(_counted, name, work)

    def threads(self) -> int:
        """Of all pools."""
        return sum(self.sizes().values())

    def close(self) -> None:
        """Wait for what is under way; what is not begun is given up."""
        for _, pool in self.pools.values():
            pool.shutdown(cancel_futures=True)

    def _end(self, name: str) -> None:
        if name in self.pools:
            self.pools.pop(name)[1].shutdown(wait=False)


def _counted(name: str, work: Callable[[], None]) -> None:
    with metrics.POOL_BUSY.labels(name).track_inprogress():
        work()
