"""A circuit breaker: a host that does not respond is not contacted for a while. Pure: the caller passes the time."""

from dataclasses import dataclass

from shared.backoff import backoff_s

TOLERATED = 3
"""Consecutive failures that open the breaker."""
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


@dataclass
class Breaker:
    """Decides which calls to a host are allowed.

    Closed: all calls pass. Open: no call passes. Half-open (the pause is over): one call passes as a probe.
    """

    failures: int = 0
    open_until_s: float = 0.0
    probing: bool = False

    def may_try(self, now_s: float) -> bool:
        """Tells whether a call is allowed now. While a probe is running, no other call is."""
        if self.failures < TOLERATED:
            return True
        if self.probing or now_s < self.open_until_s:
            return False
        self.probing = True
        return True

    def succeeded(self) -> None:
        self.failures, self.probing = 0, False

    def failed(self, now_s: float, jitter: float) -> None:
        """Counts a failure and starts the next pause.

        Args: jitter: 0 to 1; varies half of the pause, so that many clients do not return at the same moment.
        """
        self.failures += 1
        self.probing = False
        refused = self.failures - TOLERATED + 1
        self.open_until_s = now_s + backoff_s(refused, FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter)

    def state(self, now_s: float) -> str:
        """Returns the name of the state: closed, open or half-open."""
        if self.failures < TOLERATED:
            return "closed"
        return "open" if now_s < self.open_until_s else "half-open"
