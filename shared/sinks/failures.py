"""Classes of the errors that a database reports, and the patience with errors that may never pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Literal

from shared.errors import Hopeless, Unreachable
from shared.sinks import metrics

FailureClass = Literal["refused", "stale", "passing", "operator", "unknown"]
"""The class of an error code.

refused   this data or statement, for good: it is set aside
stale     another process changed the schema: it is read again, and the write repeated for a while
passing   down, busy or without space: repeated as long as it takes
operator  refuses pmflow: repeated as long as it takes, as an operator must change something
unknown   in no list: repeated for a while
"""
UNKNOWN_ERROR: Final = "a write that fails with an error of no known class is repeated this long, then set aside"
"""Description of the setting `unknown_error_s`."""


class StaleSchema(Unreachable):
    """A table or column changed: the schema must be read again."""


@dataclass
class Failures:
    """Turns error codes into exceptions and counts them. It belongs to one thread."""

    sink: str
    classes: Mapping[int, FailureClass]
    patience_s: float
    """Time for which stale and unknown errors are repeated; afterwards the data is set aside."""
    clock_s: Callable[[], float] = monotonic
    seen: dict[int, tuple[float, float]] = field(default_factory=dict, init=False)
    """Times of the first and the last error, by code."""

    def exception(self, code: int, text: str) -> Unreachable | Hopeless:
        """Returns the exception to raise for an error of this code."""
        found = self.classes.get(code, "unknown")
        metrics.DATABASE_ERRORS.labels(self.sink, str(code), found).inc()
        if found == "refused":
            return Hopeless(text)
        if found in {"passing", "operator"}:
            return Unreachable(text)
        waited_s = self._waited_s(code)
        if waited_s >= self.patience_s:
            return Hopeless(f"repeated for {waited_s:.0f} s: {text}")
        return StaleSchema(text) if found == "stale" else Unreachable(text)

    def _waited_s(self, code: int) -> float:
        """Returns for how long this error has come again and again."""
        now_s = self.clock_s()
        first_s, last_s = self.seen.get(code, (now_s, now_s))
        if now_s - last_s > self.patience_s:
            first_s = now_s
        self.seen[code] = first_s, now_s
        return now_s - first_s
