"""A TCP line that is found dead: no delay for small packets, probes when idle, a bound for what is not acknowledged."""

import socket

PROBE_AFTER_S, PROBE_EVERY_S, PROBES = 30, 10, 3


def keep_watch(line: socket.socket, timeout_s: float) -> None:
    """Paramiko and ftplib never do: without TCP_NODELAY a window update waits 40 ms for an acknowledgement."""
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {
        "TCP_KEEPIDLE": PROBE_AFTER_S,
        "TCP_KEEPINTVL": PROBE_EVERY_S,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": int(timeout_s * 1000),
    }.items():
        if option := getattr(socket, name, None):  # not every system has them all
            line.setsockopt(socket.IPPROTO_TCP, option, value)
