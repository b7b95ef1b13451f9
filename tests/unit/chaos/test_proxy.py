"""A line passes bytes unchanged until it is cut, stalled, muted, throttled, delayed or half-closed."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic

import pytest

from tests.chaos.proxy import CONDITIONS, Proxy

SILENT_S = 0.3
WITHIN_S = 10.0


@dataclass
class Ends:
    """A proxy with one line, and the sockets of its ends."""

    proxy: Proxy
    server: socket.socket
    address: tuple[str, int]
    held: ExitStack

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """Returns the ends of a new connection: the client's and the server's."""
        client = self.held.enter_context(socket.create_connection(self.address, WITHIN_S))
        accepted = self.held.enter_context(self.server.accept()[0])
        accepted.settimeout(WITHIN_S)
        client.sendall(b"!")
        assert accepted.recv(1) == b"!"  # the proxy knows the connection
        return client, accepted


def listener(held: ExitStack) -> socket.socket:
    found = held.enter_context(socket.create_server(("127.0.0.1", 0)))
    found.settimeout(WITHIN_S)
    return found


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as held:
        server, front = listener(held), socket.create_server(("127.0.0.1", 0))
        address = front.getsockname()
        proxy = Proxy()
        held.callback(proxy.close)
        proxy.add("a>b", front, server.getsockname())
        yield Ends(proxy, server, address, held)


def is_silent(end: socket.socket) -> bool:
    """Tells whether nothing arrives within a short time."""
    end.settimeout(SILENT_S)
    try:
        return end.recv(1) is None
    except TimeoutError:
        return True
    finally:
        end.settimeout(WITHIN_S)


def test_bytes_pass_in_both_directions(ends: Ends) -> None:
    client, server = ends.connected()
    client.sendall(b"ask")
    assert server.recv(9) == b"ask"
    server.sendall(b"answer")
    assert client.recv(9) == b"answer"
    client.shutdown(socket.SHUT_WR)
    assert server.recv(9) == b""
    server.sendall(b"last")
    server.close()
    assert client.recv(9) == b"last"
    assert client.recv(9) == b""


def test_a_cut_line_breaks_its_connections_and_refuses_new_ones_until_it_is_healed(ends: Ends) -> None:
    client, server = ends.connected()
    ends.proxy.apply("a>b", "cut")
    for end in (client, server):
        assert broken(end)
    assert broken(ends.held.enter_context(socket.create_connection(ends.address, WITHIN_S)))
    ends.proxy.heal("a>b")
    client, server = ends.connected()
    client.sendall(b"again")
    assert server.recv(9) == b"again"


def broken(end: socket.socket) -> bool:
    try:
        return end.recv(1) == b""
    except ConnectionError:
        return True


def test_a_stalled_line_delivers_nothing_until_it_is_healed(ends: Ends) -> None:
    client, server = ends.connected()
    ends.proxy.apply("a>b", "stall")
    client.sendall(b"ask")
    server.sendall(b"say")
    assert is_silent(server)
    assert is_silent(client)
    ends.proxy.heal("a>b")
    assert server.recv(9) == b"ask"
    assert client.recv(9) == b"say"


def test_a_muted_line_delivers_requests_but_no_answers(ends: Ends) -> None:
    client, server = ends.connected()
    ends.proxy.apply("a>b", "mute")
    client.sendall(b"ask")
    assert server.recv(9) == b"ask"
    server.sendall(b"answer")
    assert is_silent(client)
    ends.proxy.heal("a>b")
    assert client.recv(9) == b"answer"


def test_a_half_closed_connection_ends_in_one_direction_only(ends: Ends) -> None:
    client, server = ends.connected()
    client.sendall(b"ask")
    assert server.recv(9) == b"ask"
    ends.proxy.apply("a>b", "half-close")
    assert client.recv(9) == b""  # the first connection loses its answers
    client.sendall(b"more")
    assert server.recv(9) == b"more"


def test_a_throttled_line_passes_everything_at_its_rate(ends: Ends) -> None:
    client, server = ends.connected()
    ends.proxy.apply("a>b", "throttle")
    size, began_s = 4 << 10, monotonic()
    client.sendall(b"x" * size)
    left = size
    while left:
        left -= len(server.recv(left))
    assert monotonic() - began_s >= 0.8 * size / CONDITIONS["throttle"].bytes_per_s


def test_a_delayed_line_passes_each_piece_late(ends: Ends) -> None:
    client, server = ends.connected()
    ends.proxy.apply("a>b", "delay")
    began_s = monotonic()
    client.sendall(b"ask")
    assert server.recv(9) == b"ask"
    assert monotonic() - began_s >= CONDITIONS["delay"].delay_s


def test_a_client_of_a_server_that_does_not_run_is_refused(ends: Ends) -> None:
    ends.server.close()
    assert broken(ends.held.enter_context(socket.create_connection(ends.address, WITHIN_S)))
