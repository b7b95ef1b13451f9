"""The largest part of threads, or of records in progress, that the work for one host may occupy. Pure."""

MOST_SHARES = 5
"""A host that hangs holds at most a fifth: the others keep four fifths."""


def share_of_host(total: int, hosts: int) -> int:
    """Returns how many of a number of places one of so many hosts may occupy: equal shares, at least a fifth and one.

    >>> share_of_host(20, 1), share_of_host(20, 2), share_of_host(20, 1000)
    (20, 10, 4)
    """
    return max(1, total // max(1, min(hosts, MOST_SHARES)))
