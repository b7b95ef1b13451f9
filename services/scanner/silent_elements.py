"""Remembers which elements do not answer, from scan to scan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from shared.inventory import Endpoint


@dataclass(frozen=True, slots=True)
class Silence:
    """The last failed attempt at an element."""

    endpoint: Endpoint
    reason: str
    tried_s: float


class SilentElements:
    """The elements that did not answer when they were last tried, from scan to scan. Threads may share it."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self.now_s = now_s
        self.silences: dict[str, Silence] = {}
        self.under_trial: set[str] = set()
        """Elements whose trial has not ended, be it one of an earlier scan."""

    def forget_others(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Forgets the elements that are no longer configured as they were."""
        for name, silence in list(self.silences.items()):
            if endpoints.get(name) != silence.endpoint:
                self.silences.pop(name, None)

    def longest_untried_first(self) -> list[Silence]:
        return sorted(self.silences.values(), key=lambda silence: silence.tried_s)

    def answered(self, endpoint: Endpoint) -> None:
        self.silences.pop(endpoint.name, None)

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        self.silences[endpoint.name] = Silence(endpoint, reason, self.now_s())
