"""FairThreads: threads that work for the systems in turn."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread


class FairThreads:
    """Threads shared by all systems: each is served in turn, so one with much work does not hold up the others."""

    def __init__(self, threads: int) -> None:
        self.waiting: dict[str, deque[tuple[Future[None], Callable[[], None]]]] = {}
        """The work of each system; the system whose turn is next comes first."""
        self.changed = Condition()
        self.is_closed = False
        self.threads = [Thread(target=self._run, name=f"process-{n}", daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def submit(self, system: str, work: Callable[[], None]) -> Future[None]:
        """Queues work of a system. The future ends with it, and has its error."""
        future: Future[None] = Future()
        with self.changed:
            self.waiting.setdefault(system, deque()).append((future, work))
            self.changed.notify()
        return future

    def close(self) -> None:
        """Finishes all work, then stops the threads."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _run(self) -> None:
        while one := self._next():
            future, work = one
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(None)
            del one, future, work  # a file's content may be part of the work

    def _next(self) -> tuple[Future[None], Callable[[], None]] | None:
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.is_closed)
            if not self.waiting:
                return None
            system = next(iter(self.waiting))
            of_system = self.waiting.pop(system)
            one = of_system.popleft()
            if of_system:
                self.waiting[system] = of_system
            return one
