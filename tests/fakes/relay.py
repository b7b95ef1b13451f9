"""A relay to a server on loopback, by which it can be reached at another address."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


@contextmanager
def relay(host: str, target_port: int) -> Iterator[int]:
    """Serves at an address until the end of the block; yields its port."""
    with socket.create_server((host, 0)) as server:
        Thread(target=_serve, args=(server, target_port), daemon=True).start()
        yield server.getsockname()[1]
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # ends the waiting for a client


def _serve(server: socket.socket, target_port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            Thread(target=_join, args=(client, target_port), daemon=True).start()


def _join(client: socket.socket, target_port: int) -> None:
    with client, socket.create_connection(("127.0.0.1", target_port)) as target:
        back = Thread(target=_copy, args=(target, client), daemon=True)
        back.start()
        _copy(client, target)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
