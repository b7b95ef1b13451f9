"""TCP options that detect a dead connection and send small packets without delay."""

import socket

PROBE_AFTER_S, PROBE_EVERY_S, PROBES = 30, 10, 3


def enable_keepalive(connection: socket.socket, timeout_s: float) -> None:
    """Sets TCP_NODELAY (without it a window update waits 40 ms), keepalive probes and an acknowledgement timeout."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {
        "TCP_KEEPIDLE": PROBE_AFTER_S,
        "TCP_KEEPINTVL": PROBE_EVERY_S,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": int(timeout_s * 1000),
    }.items():
        if option := getattr(socket, name, None):  # not every operating system has all of them
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
