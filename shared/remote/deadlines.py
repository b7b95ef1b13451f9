"""Aborts sessions that are lent for too long, by one thread: a timer for each costs a fifth of a listing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.session import Session


@dataclass(eq=False, slots=True)
class _Lend:
    session: Session
    until_s: float
    is_over: bool = False


class Deadlines:
    """The sessions that are lent now; thread-safe."""

    def __init__(self, at_most_s: float) -> None:
        """Args: at_most_s: the longest time, the same for all: the first lent session is the first to abort."""
        self.at_most_s = at_most_s
        self.changed = Condition()
        self.lends: dict[_Lend, None] = {}
        self.thread: Thread | None = None

    @contextmanager
    def limit(self, session: Session, endpoint: Endpoint) -> Iterator[None]:
        """Aborts the session when the time is over.

        Raises:
            Unreachable: the session was aborted.
        """
        lend = self._begin(session)
        try:
            yield
        except Exception as error:
            if lend.is_over:
                raise Unreachable(f"{endpoint!r}: not finished within {self.at_most_s:.0f} s, given up") from error
            raise
        finally:
            with self.changed:
                self.lends.pop(lend, None)

    def _begin(self, session: Session) -> _Lend:
        with self.changed:
            lend = _Lend(session, monotonic() + self.at_most_s)
            self.lends[lend] = None
            if self.thread is None or not self.thread.is_alive():
                self.thread = Thread(target=self._watch, name="deadlines of sessions", daemon=True)
                self.thread.start()
        return lend

    def _watch(self) -> None:
        """Runs while sessions are lent, and until the time of the first one is over: it need not start for each."""
        with self.changed:
            while self.lends:
                first = next(iter(self.lends))
                left_s = first.until_s - monotonic()
                if left_s > 0:
                    self.changed.wait(left_s)
                else:
                    del self.lends[first]
                    first.is_over = True
                    first.session.abort()
            self.thread = None
