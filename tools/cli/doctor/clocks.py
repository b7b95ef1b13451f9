"""Compares the clock of a server with this machine's."""

from time import time

from tools.cli.doctor.findings import Finding

MOST_SKEW_S = 5.0
"""Skew from which it is a warning: ages of files, latencies and lags are wrong by as much."""
HARMFUL_SKEW_S = 60.0
"""Skew from which it is an error: periods close too early, and files count as too young."""


def clock_finding(whose: str, server_s: float, asked_s: float) -> Finding:
    """Returns whether a clock agrees with this machine's.

    Args:
        whose: the server.
        server_s: its time, in seconds since 1970.
        asked_s: the time here when it was asked.
    """
    now_s = time()
    skew_s = server_s - now_s if server_s > now_s else server_s - asked_s if server_s < asked_s else 0.0
    if abs(skew_s) < MOST_SKEW_S:
        return Finding("ok", f"the clock of {whose} agrees with this machine's")
    side = "ahead of" if skew_s > 0 else "behind"
    return Finding(
        "error" if abs(skew_s) >= HARMFUL_SKEW_S else "warning",
        f"the clock of {whose} is {abs(skew_s):,.0f} s {side} this machine's",
        "ages of files, latencies and the ends of cycles are wrong by as much",
        "run NTP (chrony, systemd-timesyncd) on all machines",
    )
