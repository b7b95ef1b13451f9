"""An SFTP session against a server that answers with arbitrary packets: one of our errors, or a result."""

import struct
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from threading import get_ident

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Hopeless, Unreachable
from shared.remote.listing import ListingLimits
from shared.remote.session import Traffic
from shared.remote.sftp import SftpSession
from shared.remote.sftp_reads import ServerCapabilities
from shared.remote.sftp_requests import ATTRS, DATA, HANDLE, NAME, STATUS, Requests

u32 = struct.Struct(">I").pack
ATTRIBUTES = u32(0x8000000D) + struct.pack(">QIIII", 2**64 - 1, 0o100644, 1, 1, 2**31)
kinds = st.sampled_from((STATUS, STATUS, HANDLE, DATA, NAME, ATTRS)) | st.integers(0, 255)
bodies = (
    st.just(b"")
    | st.sampled_from((0, 1, 2, 3, 4, 5, 8, 2**32 - 1)).map(u32)
    | st.binary(max_size=40)
    | st.tuples(st.integers(0, 8), st.binary(max_size=40)).map(lambda body: u32(body[0]) + body[1])
    | st.just(u32(2**32 - 1) * 4)
    | st.just(u32(1) + u32(3) + b"a.x" + u32(0) + ATTRIBUTES)
    | st.just(u32(2) + 2 * (u32(3) + b"b.x" + u32(0) + u32(0)))
)
answers = st.lists(st.tuples(kinds, bodies, st.sampled_from((0, 0, 0, 1, 77))), min_size=1, max_size=12)


class HostileChannel:
    """Answers each request with the next of its packets, over and over, then closes."""

    def __init__(self, packets: list[tuple[int, bytes, int]]) -> None:
        self.packets = packets
        self.sent = b""
        self.requests = self.received = 0

    def sendall(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            length, _, number = struct.unpack_from(">IBI", data, at)
            at += 4 + length
            kind, body, shift = self.packets[self.requests % len(self.packets)]
            self.requests += 1
            self.sent += struct.pack(">IBI", 5 + len(body), kind, (number + shift) & 0xFFFFFFFF) + body

    def recv(self, size: int) -> bytes:
        self.received += 1
        if self.received > 200:
            raise EOFError("closed")
        chunk, self.sent = self.sent[:size], self.sent[size:]
        return chunk


def session_on(packets: list[tuple[int, bytes, int]]) -> SftpSession:
    session = SftpSession.__new__(SftpSession)  # without SSH
    session.owner, session.traffic = get_ident(), Traffic()
    session.requests, session.capabilities = Requests(HostileChannel(packets), 30.0), ServerCapabilities()
    session.limits = ListingLimits(entries=1000, seconds=5.0)
    return session


ACTS: dict[str, Callable[[SftpSession], object]] = {
    "tree": lambda session: list(session.tree(b"/x", 2)),
    "read_all": lambda session: list(session.read_all([(b"/a", 100_000), (b"/b", 5)])),
    "read_to": lambda session: session.read_to(b"/a", 10, BytesIO()),
    "look": lambda session: session.look(b"/x/a"),
    "write": lambda session: session.write(b"/a", b"x" * 100),
    "move": lambda session: session.move(b"/a", b"/b"),
    "delete": lambda session: session.delete(b"/a"),
    "make_directory": lambda session: session.make_directory(b"/d"),
    "check": lambda session: session.check(),
}


@pytest.mark.parametrize("act", ACTS)
@settings(max_examples=150, deadline=None)
@given(packets=answers)
def test_whatever_a_server_sends_is_a_result_or_one_of_our_errors(
    act: str, packets: list[tuple[int, bytes, int]]
) -> None:
    with suppress(Unreachable, Hopeless):
        ACTS[act](session_on(packets))
