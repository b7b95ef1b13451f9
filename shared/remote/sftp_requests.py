"""An SFTP version 3 client (draft-ietf-secsh-filexfer-02) that pipelines requests and takes responses in any order.

Names stay bytes. Independent of SSH: a channel is anything that sends and receives bytes.
"""

import stat
import struct
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from shared.errors import Unreachable
from shared.remote.listing_lines import Kind, Line, list_line
from shared.remote.session import Denied, Gone, MinimumRate

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT = 1, 2, 3, 4, 5, 6, 7
OPENDIR, READDIR, REMOVE, MKDIR, REALPATH, STAT, RENAME = 11, 12, 13, 14, 16, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED = 101, 102, 103, 104, 105, 200
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, UNSUPPORTED = 0, 1, 2, 3, 4, 8
NO_CONNECTION, CONNECTION_LOST = 6, 7
FOR_READING, FOR_WRITING = 1, 2 | 8 | 16
"""Flags of OPEN. For writing, the file is created or truncated."""
HAS_SIZE, HAS_OWNER, HAS_MODE, HAS_TIMES, HAS_MORE = 1, 2, 4, 8, 0x80000000
UNKNOWN_SIZE = 1 << 63
"""A size from here on is a negative number in the server."""
STRAY_RESPONSES = 10_000
"""Responses to no request of ours that are tolerated during one wait."""
LONGEST_RESPONSE = 1 << 24
RECEIVE_BYTES = 1 << 20
UNSENT_AT_MOST = 16
REQUESTS_AT_ONCE = 256
"""Most requests under way of those that are sent together: a server holds what it has not answered."""
_U32 = struct.Struct(">I")
_HEAD = struct.Struct(">IBI")


Request = tuple[int, *tuple[bytes, ...]]
"""The type of a packet, and its encoded fields."""


class ByteStream(Protocol):
    """The part of a channel that is used here."""

    def sendall(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Response:
    """A response to the request with this number; the body is the rest of the packet."""

    number: int
    kind: int
    body: bytes

    @property
    def code(self) -> int:
        """The status code of a STATUS packet, -1 for other packets."""
        return int(_U32.unpack_from(self.body)[0]) if self.kind == STATUS else -1

    @property
    def text(self) -> bytes:
        """The string in a HANDLE or DATA packet."""
        return self.body[4 : 4 + _U32.unpack_from(self.body)[0]]


_TYPE_BITS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", 0: "unknown"}


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of a file, a directory or another file type; each of them is optional in the protocol."""

    size: int | None = None
    mode: int | None = None
    mtime_s: int | None = None

    @property
    def kind(self) -> Kind:
        return "unknown" if self.mode is None else _TYPE_BITS.get(stat.S_IFMT(self.mode), "other")

    def line(self, name: bytes, long_name: bytes = b"") -> Line:
        """Returns what the attributes tell, and in their place what the long name (a line of `ls -l`) tells.

        The size 0 of a file is not believed if the long name has another. A long name's time is not used: it has
        no zone, and a later LSTAT, by which the file must be recognized, does not tell it.
        """
        long = list_line(long_name, 0.0) if long_name else None
        if long is None or long.kind == "unreadable":
            return Line(name, self.kind, self.size, self.mtime_s)
        size = self.size if self.size or long.size is None else long.size
        return Line(name, long.kind if self.kind == "unknown" else self.kind, size, self.mtime_s)


class Requests:
    """Sends requests on a channel and keeps track of the responses still expected."""

    def __init__(self, channel: ByteStream, timeout_s: float) -> None:
        self.channel = channel
        self.rate = MinimumRate(timeout_s)
        self.number = 0
        self.unsent: list[bytes] = []
        self.received = bytearray()
        self.awaited: set[int] = set()
        self.unclaimed: dict[int, Response] = {}
        """Responses that arrived while another one was waited for."""

    def greet(self) -> None:
        """Negotiates the version. In VERSION the server's version stands in place of a request number.

        Raises:
            Unreachable: the server does not support SFTP version 3.
        """
        self.channel.sendall(_HEAD.pack(5, INIT, 3))
        if (response := self._receive()).kind != VERSION or response.number < 3:
            raise Unreachable("the server does not support SFTP version 3")

    def submit(self, kind: int, *fields: bytes) -> int:
        """Queues a request and returns its number.

        Queued requests are sent together at the next wait, or when there are many: a packet for each would be slow.
        """
        self.number = (self.number + 1) & 0xFFFFFFFF
        body = b"".join(fields)
        self.unsent.append(_HEAD.pack(len(body) + 5, kind, self.number) + body)
        self.awaited.add(self.number)
        if len(self.unsent) >= UNSENT_AT_MOST:
            self.flush()
        return self.number

    def forget(self, numbers: Iterable[int]) -> None:
        """Discards the responses to these requests."""
        for number in numbers:
            self.awaited.discard(number)
            self.unclaimed.pop(number, None)

    def close(self, handle: bytes) -> None:
        """Closes a handle without waiting for the response, which saves a round trip per file."""
        self.forget([self.submit(CLOSE, text(handle))])

    def flush(self) -> None:
        if self.unsent:
            self.channel.sendall(b"".join(self.unsent))
            self.unsent.clear()

    def wait_for_any(self, numbers: Container[int]) -> Response:
        """Returns the next response to one of these requests."""
        for number in self.unclaimed:
            if number in numbers:
                return self.unclaimed.pop(number)
        for _ in range(STRAY_RESPONSES + len(self.awaited)):
            response = self._receive()
            if response.number in self.awaited:
                self.awaited.discard(response.number)
                if response.number in numbers:
                    return response
                self.unclaimed[response.number] = response
            elif response.kind == HANDLE:  # opened for a request that was forgotten in the meantime
                self.close(response.text)
        raise Unreachable("the server sends responses to no request")

    def call(self, kind: int, *fields: bytes) -> Response:
        """Sends a request and returns its response."""
        return self.wait_for_any((self.submit(kind, *fields),))

    def call_all(self, requests: Sequence[Request]) -> list[Response]:
        """Sends requests together and returns their responses, in the order of the requests."""
        numbers: list[int] = []
        responses: dict[int, Response] = {}
        under_way: set[int] = set()
        try:
            for kind, *fields in requests:
                if len(under_way) >= REQUESTS_AT_ONCE:
                    self._wait_into(responses, under_way)
                numbers.append(self.submit(kind, *fields))
                under_way.add(numbers[-1])
            while under_way:
                self._wait_into(responses, under_way)
        finally:
            self.forget(under_way)
        return [responses[number] for number in numbers]

    def _wait_into(self, responses: dict[int, Response], under_way: set[int]) -> None:
        response = self.wait_for_any(under_way)
        under_way.discard(response.number)
        responses[response.number] = response

    def _receive(self) -> Response:
        received = self.received
        while len(received) < 4 or len(received) < 4 + self._length():
            self.flush()
            began_s = monotonic()
            chunk = self.channel.recv(RECEIVE_BYTES)
            self.rate.count(monotonic() - began_s, len(chunk))
            if not chunk:
                raise EOFError("the server closed the channel")
            received += chunk
        end = 4 + self._length()
        _, kind, number = _HEAD.unpack_from(received)
        with memoryview(received) as view:
            body = bytes(view[9:end])
        del received[:end]
        return Response(number, kind, body)

    def _length(self) -> int:
        length = int(_U32.unpack_from(self.received)[0])
        if not 5 <= length < LONGEST_RESPONSE:
            raise Unreachable(f"the server sent data that is not SFTP: a packet of {length} bytes")
        return length


def u32(number: int) -> bytes:
    return _U32.pack(number)


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def text(content: bytes) -> bytes:
    """Encodes a string: its length, then its bytes."""
    return _U32.pack(len(content)) + content


NO_ATTRIBUTES = u32(0)


def refusal(path: bytes, response: Response) -> Gone | Unreachable:
    """Returns the error that an unexpected response stands for."""
    if response.kind != STATUS:
        return Unreachable(f"{path!r}: the server responded with an unexpected packet of type {response.kind}")
    if response.code == NO_SUCH_FILE:
        return Gone(repr(path))
    reason = FieldReader(response.body[4:]).text().decode(errors="replace") if len(response.body) >= 8 else ""
    what = f"{path!r}: {reason or 'refused'} (SFTP status {response.code})"
    return Unreachable(what) if response.code in {NO_CONNECTION, CONNECTION_LOST} else Denied(what)


class FieldReader:
    """Decodes the fields of a packet body, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def u32(self) -> int:
        self.at += 4
        return int(_U32.unpack_from(self.data, self.at - 4)[0])

    def text(self) -> bytes:
        length = self.u32()
        self.at += length
        return self.data[self.at - length : self.at]

    def attributes(self) -> Attributes:
        """Decodes file attributes (clause 5 of the draft)."""
        flags, size, mode, mtime_s = self.u32(), None, None, None
        if flags & HAS_SIZE:
            size = (self.u32() << 32) | self.u32()
            size = size if size < UNKNOWN_SIZE else None
        if flags & HAS_OWNER:
            self.at += 8
        if flags & HAS_MODE:
            mode = self.u32()
        if flags & HAS_TIMES:
            _atime, mtime_s = self.u32(), self.u32()
        if flags & HAS_MORE:
            for _ in range(2 * self.u32()):
                self.text()
        return Attributes(size, mode, mtime_s)

    def count(self) -> int:
        """Returns the number of names that follow, as the server tells it."""
        return int(_U32.unpack_from(self.data, self.at)[0])

    def names(self) -> Iterator[tuple[bytes, bytes, Attributes]]:
        """Decodes a list of names, each with its long name, meant for display (clause 7 of the draft)."""
        for _ in range(self.u32()):
            name, long_name = self.text(), self.text()
            yield name, long_name, self.attributes()
