"""Computes the wait before a failed call is retried: the one rule for every loop that retries."""

from random import random

_DOUBLINGS = 64
"""Limit of the doublings: more than any wait needs, and too few for a float to overflow."""


def backoff_s(failures: int, first_s: float, longest_s: float, jitter: float | None = None) -> float:
    """Returns the wait after a number of consecutive failures; it doubles from `first_s` up to `longest_s`.

    Args:
        failures: number of failures; 1 for the first.
        first_s: wait after the first failure, without jitter.
        longest_s: longest wait.
        jitter: 0 to 1, the share of the wait's second half that is kept, so that many clients do not retry at the
            same time; random by default; 1 for the whole wait.

    >>> [backoff_s(failures, 5.0, 60.0, jitter=1.0) for failures in (1, 2, 5, 10_000)]
    [5.0, 10.0, 60.0, 60.0]
    """
    whole_s = min(longest_s, first_s * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS))
    drawn = random() if jitter is None else jitter  # noqa: S311 - jitter needs no secure random
    return whole_s * (0.5 + 0.5 * drawn)
