"""TCP proxies between services and servers, whose lines can be cut, stalled, muted, throttled, delayed, half-closed."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Literal

from tests.chaos.plan import LineKind

Direction = Literal["to server", "to client"]
PIECE_BYTES = 64 << 10
SLOW_PIECE_BYTES = 1 << 10
"""Pieces of a throttled line, so that its rate is even."""
CONNECT_S = 5.0
CALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Condition:
    """The treatment of the bytes that pass a line."""

    is_cut: bool = False
    stalled: frozenset[Direction] = frozenset()
    bytes_per_s: float = 0.0
    """0: no limit."""
    delay_s: float = 0.0
    is_garbled: bool = False


HEALTHY = Condition()
CONDITIONS: dict[LineKind, Condition] = {
    "cut": Condition(is_cut=True),
    "stall": Condition(stalled=frozenset(("to server", "to client"))),
    "mute": Condition(stalled=frozenset(("to client",))),
    "throttle": Condition(bytes_per_s=8 << 10),
    "delay": Condition(delay_s=0.3),
    "half-close": HEALTHY,  # only the connections at its begin
    "garble": Condition(is_garbled=True),
}


@dataclass(eq=False)
class Connection:
    """One connection of a client and the one to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    closed: set[Direction] = field(default_factory=set)

    def towards(self, direction: Direction) -> asyncio.StreamWriter:
        return self.server if direction == "to server" else self.client

    def close(self, direction: Direction) -> None:
        """Sends the end of the stream in one direction; what arrives later for it is discarded."""
        if direction not in self.closed:
            self.closed.add(direction)
            with suppress(OSError, RuntimeError):  # closed meanwhile
                self.towards(direction).write_eof()

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


@dataclass(eq=False)
class Line:
    """A listener and its connections to one server. Used in the thread of its proxy only."""

    name: str
    server: tuple[str, int]
    condition: Condition = HEALTHY
    connections: set[Connection] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def accept(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Connects a new client to the server; the client sees a reset if the server cannot be reached."""
        if self.condition.is_cut:
            client.transport.abort()
            return
        try:
            async with asyncio.timeout(CONNECT_S):
                answers, server = await asyncio.open_connection(*self.server)
        except OSError:  # TimeoutError is one
            client.transport.abort()
            return
        connection = Connection(client, server)
        if self.condition.is_cut:  # meanwhile
            connection.abort()
            return
        self.connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(requests, connection, "to server"), self._pump(answers, connection, "to client")
            )
        except OSError:
            pass  # reset by either side
        finally:
            self.connections.discard(connection)
            connection.abort()

    async def _pump(self, reader: asyncio.StreamReader, connection: Connection, direction: Direction) -> None:
        writer = connection.towards(direction)
        while data := await reader.read(SLOW_PIECE_BYTES if self.condition.bytes_per_s else PIECE_BYTES):
            await self._delayed(len(data), direction)
            if direction not in connection.closed:
                writer.write(os.urandom(len(data)) if self._garbles(direction) else data)
                await writer.drain()
        await self._delayed(0, direction)
        connection.close(direction)

    def _garbles(self, direction: Direction) -> bool:
        return self.condition.is_garbled and direction == "to client"

    async def _delayed(self, size: int, direction: Direction) -> None:
        if self.condition.bytes_per_s:
            await asyncio.sleep(size / self.condition.bytes_per_s)
        if self.condition.delay_s:
            await asyncio.sleep(self.condition.delay_s)
        while direction in self.condition.stalled:
            await self.changed.wait()

    async def apply(self, kind: LineKind) -> None:
        """Begins a fault."""
        self._switch(CONDITIONS[kind])
        for number, connection in enumerate(list(self.connections)):
            if kind == "cut":
                connection.abort()
            if kind == "half-close":
                connection.close("to server" if number % 2 else "to client")

    async def heal(self) -> None:
        """Ends a fault."""
        self._switch(HEALTHY)

    def _switch(self, condition: Condition) -> None:
        self.condition = condition
        self.changed.set()
        self.changed = asyncio.Event()


class Proxy:
    """All lines, served by one thread until `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._lines: dict[str, Line] = {}
        self._listeners: list[asyncio.Server] = []

    def add(self, name: str, listener: socket.socket, server: tuple[str, int]) -> None:
        """Adds a line from a bound socket to a server."""

        async def listen() -> None:
            line = self._lines[name] = Line(name, server)
            self._listeners.append(await asyncio.start_server(line.accept, sock=listener, limit=PIECE_BYTES))

        self._call(listen)

    @property
    def names(self) -> list[str]:
        return sorted(self._lines)

    def apply(self, name: str, kind: LineKind) -> None:
        """Begins a fault of a line."""
        self._call(lambda: self._lines[name].apply(kind))

    def heal(self, name: str) -> None:
        """Ends the fault of a line."""
        self._call(self._lines[name].heal)

    def close(self) -> None:
        """Breaks all connections and ends the thread."""
        self._call(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    async def _end(self) -> None:
        for listener in self._listeners:
            listener.close()
        for line in self._lines.values():
            await line.apply("cut")
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    def _call(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(CALL_S)
