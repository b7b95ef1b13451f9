"""A circuit breaker: a host that does not answer is left alone for a while. Pure: the caller brings the time."""

from dataclasses import dataclass

from shared.backoff import backoff_s

TOLERATED = 3
"""Failures in a row before a host is left alone."""
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


@dataclass
class Breaker:
    """Closed: calls pass. Open: none passes. Half-open, when the pause is over: one passes, to see."""

    failures: int = 0
    open_until_s: float = 0.0
    probing: bool = False

    def may_try(self, now_s: float) -> bool:
        """Whether a call may be made now; when it is the probe, others wait for its outcome."""
        if self.failures < TOLERATED:
            return True
        if self.probing or now_s < self.open_until_s:
            return False
        self.probing = True
        return True

    def succeeded(self) -> None:
        self.failures, self.probing = 0, False

    def failed(self, now_s: float, jitter: float) -> None:
        """Args: jitter: 0 to 1, of the pause's half, so that many clients do not come back together."""
        self.failures += 1
        self.probing = False
        refused = self.failures - TOLERATED + 1
        self.open_until_s = now_s + backoff_s(refused, FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter)

    def state(self, now_s: float) -> str:
        """As an operator calls it: closed, open or half-open."""
        if self.failures < TOLERATED:
            return "closed"
        return "open" if now_s < self.open_until_s else "half-open"
