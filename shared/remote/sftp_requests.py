"""SFTP version 3 as its client speaks it: requests sent without waiting, answers taken in any order.

draft-ietf-secsh-filexfer-02. Names stay bytes. Knows no SSH: a line is anything that sends and receives.
"""

import stat
import struct
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from shared.errors import Unreachable
from shared.remote.session import Denied, Entry, Gone, Pace

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT = 1, 2, 3, 4, 5, 6, 7
OPENDIR, READDIR, REMOVE, MKDIR, REALPATH, STAT, RENAME = 11, 12, 13, 14, 16, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED = 101, 102, 103, 104, 105, 200
OK, EOF, NO_SUCH_FILE, FAILURE, UNSUPPORTED = 0, 1, 2, 4, 8
NO_CONNECTION, CONNECTION_LOST = 6, 7
FOR_READING, FOR_WRITING = 1, 2 | 8 | 16
"""Flags of OPEN; for writing: made, or emptied."""
HAS_SIZE, HAS_OWNER, HAS_MODE, HAS_TIMES, HAS_MORE = 1, 2, 4, 8, 0x80000000
LONGEST_ANSWER = 1 << 24
RECEIVE_BYTES = 1 << 20
UNSENT_AT_MOST = 16
_U32 = struct.Struct(">I")
_HEAD = struct.Struct(">IBI")


class Line(Protocol):
    """A channel, as far as it is needed here."""

    def sendall(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """To the request of that number; the body is what follows it."""

    number: int
    kind: int
    body: bytes

    @property
    def code(self) -> int:
        """Of a STATUS, and of nothing else."""
        return int(_U32.unpack_from(self.body)[0]) if self.kind == STATUS else -1

    @property
    def text(self) -> bytes:
        """The string of a HANDLE or DATA."""
        return self.body[4 : 4 + _U32.unpack_from(self.body)[0]]


@dataclass(frozen=True, slots=True)
class Attributes:
    """Of a file, a directory or whatever it is."""

    size: int
    mode: int
    mtime_s: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def entry(self, name: bytes) -> Entry:
        return Entry(name, self.size, self.mtime_s)


class Requests:
    """What is asked on a channel and what is still to be answered."""

    def __init__(self, line: Line, timeout_s: float) -> None:
        self.line = line
        self.pace = Pace(timeout_s)
        self.number = 0
        self.unsent: list[bytes] = []
        self.received = bytearray()
        self.awaited: set[int] = set()
        self.kept: dict[int, Answer] = {}

    def greet(self) -> None:
        """Agree on the version; the server's number, 3 or higher, stands where others have the request's."""
        self.line.sendall(_HEAD.pack(5, INIT, 3))
        if (answer := self._receive()).kind != VERSION or answer.number < 3:
            raise Unreachable("the server speaks no SFTP of version 3")

    def ask(self, kind: int, *fields: bytes) -> int:
        """Queue a request; it is sent with the next wait, or when there are many: a packet each is what costs."""
        self.number = (self.number + 1) & 0xFFFFFFFF
        body = b"".join(fields)
        self.unsent.append(_HEAD.pack(len(body) + 5, kind, self.number) + body)
        self.awaited.add(self.number)
        if len(self.unsent) >= UNSENT_AT_MOST:
            self.flush()
        return self.number

    def forget(self, numbers: Iterable[int]) -> None:
        """Their answers are of no interest (any more)."""
        for number in numbers:
            self.awaited.discard(number)
            self.kept.pop(number, None)

    def close(self, handle: bytes) -> None:
        """Not waited for: it saves a round trip a file."""
        self.forget([self.ask(CLOSE, text(handle))])

    def flush(self) -> None:
        if self.unsent:
            self.line.sendall(b"".join(self.unsent))
            self.unsent.clear()

    def any_of(self, numbers: Container[int]) -> Answer:
        """The next answer to one of these."""
        for number in self.kept:
            if number in numbers:
                return self.kept.pop(number)
        while True:
            answer = self._receive()
            if answer.number in self.awaited:
                self.awaited.discard(answer.number)
                if answer.number in numbers:
                    return answer
                self.kept[answer.number] = answer
            elif answer.kind == HANDLE:  # opened for one who left meanwhile
                self.close(answer.text)

    def answer(self, kind: int, *fields: bytes) -> Answer:
        """Ask, and wait."""
        return self.any_of((self.ask(kind, *fields),))

    def _receive(self) -> Answer:
        received = self.received
        while len(received) < 4 or len(received) < 4 + self._length():
            self.flush()
            began_s = monotonic()
            piece = self.line.recv(RECEIVE_BYTES)
            self.pace.took(monotonic() - began_s, len(piece))
            if not piece:
                raise EOFError("the server closed the channel")
            received += piece
        end = 4 + self._length()
        _, kind, number = _HEAD.unpack_from(received)
        with memoryview(received) as view:
            body = bytes(view[9:end])
        del received[:end]
        return Answer(number, kind, body)

    def _length(self) -> int:
        length = int(_U32.unpack_from(self.received)[0])
        if not 5 <= length < LONGEST_ANSWER:
            raise Unreachable("what the server sends is no SFTP")
        return length


def u32(number: int) -> bytes:
    return _U32.pack(number)


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def text(content: bytes) -> bytes:
    """A string on the line: its length, then its bytes."""
    return _U32.pack(len(content)) + content


NO_ATTRIBUTES = u32(0)


def refusal(path: bytes, answer: Answer) -> Gone | Unreachable:
    """What a status other than the hoped-for one means."""
    if answer.kind != STATUS:
        return Unreachable(f"{path!r}: the server answered with a packet of type {answer.kind}")
    if answer.code == NO_SUCH_FILE:
        return Gone(repr(path))
    reason = Reader(answer.body[4:]).text().decode(errors="replace") if len(answer.body) >= 8 else ""
    what = f"{path!r}: {reason or 'refused'} (SFTP status {answer.code})"
    return Unreachable(what) if answer.code in {NO_CONNECTION, CONNECTION_LOST} else Denied(what)


class Reader:
    """Reads fields off a body."""

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
        """Clause 5."""
        flags, size, mode, mtime_s = self.u32(), 0, 0, 0
        if flags & HAS_SIZE:
            size = (self.u32() << 32) | self.u32()
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

    def names(self) -> Iterator[tuple[bytes, Attributes]]:
        """Clause 7; the long names are for people and left out."""
        for _ in range(self.u32()):
            name, _long_name = self.text(), self.text()
            yield name, self.attributes()
