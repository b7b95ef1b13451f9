"""Computes how long to wait before a failed call is tried again: the only such rule, for every loop that retries."""

from random import random

_DOUBLINGS = 64
"""More of them than any wait needs, and few enough that no float overflows."""


def backoff_s(failures: int, first_s: float, longest_s: float, jitter: float | None = None) -> float:
    """Returns the wait after so many failures in a row: it doubles from `first_s` up to `longest_s`.

    Args:
        failures: 1 for the first; any number is valid.
        first_s: the wait after the first failure, without jitter.
        longest_s: no wait is longer.
        jitter: 0 to 1, the share that is kept of the wait's second half, so that many clients do not come back
            together; drawn at random by default, 1 for the whole wait.

    >>> [backoff_s(failures, 5.0, 60.0, jitter=1.0) for failures in (1, 2, 5, 10_000)]
    [5.0, 10.0, 60.0, 60.0]
    """
    whole_s = min(longest_s, first_s * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS))
    drawn = random() if jitter is None else jitter  # noqa: S311 - jitter needs no secure random
    return whole_s * (0.5 + 0.5 * drawn)
