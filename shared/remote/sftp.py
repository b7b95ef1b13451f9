"""Elements over SFTP: the only module that imports paramiko.

One owner per channel: threads that share an SFTPClient steal each other's answers and hang. Requests are pipelined
on it and answered in any order; names stay bytes, as one name that is not UTF-8 must not stop a directory.
"""

import io
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paramiko
from paramiko import sftp as wire
from paramiko.message import Message

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.session import Entry, Gone, LoginRefused
from shared.settings import Remote

READ_BYTES = 32_768
"""Of one request: what every server answers in full."""
READS_AHEAD = 64
LISTINGS_AHEAD = 4
KEEPALIVE_S = 15
"""Between two signs of life: a line that is cut without a word is found dead."""
FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_U32 = struct.Struct(">I")


class SftpSession:
    """An SFTP channel. See `session.Session`."""

    def __init__(self, transport: paramiko.Transport, timeout_s: float) -> None:
        self.transport = transport
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise Unreachable("the server gave no SFTP channel")
        client.get_channel().settimeout(timeout_s)  # type: ignore[union-attr]
        self.client: Any = client  # its requests below the file level have no types
        self.answers: dict[int, tuple[int, Message]] = {}
        self.not_awaited: set[int] = set()

    def entries(self, directory: bytes) -> Iterator[Entry]:
        with _foreign(directory):
            handle = self._handle(wire.CMD_OPENDIR, directory)
            ahead = [self._ask(wire.CMD_READDIR, handle) for _ in range(LISTINGS_AHEAD)]
            ended = False
            while ahead:
                kind, answer = self._answer(ahead.pop(0))
                if kind == wire.CMD_NAME:
                    if not ended:
                        ahead.append(self._ask(wire.CMD_READDIR, handle))
                    yield from _entries(answer.asbytes())
                elif (code := answer.get_int()) == wire.SFTP_EOF:
                    ended = True
                else:
                    raise _refusal(directory, code, answer)
            self._close(handle)

    def read(self, path: bytes, size: int) -> bytes:
        with _foreign(path):
            handle = self._handle(wire.CMD_OPEN, path, wire.SFTP_FLAG_READ, paramiko.SFTPAttributes())
            try:
                return self._pieces(handle, size)
            finally:
                self._close(handle)

    def _pieces(self, handle: bytes, size: int) -> bytes:
        """All reads under way at once, up to READS_AHEAD; a short answer is asked on."""
        pieces = bytearray(size)
        todo = [(at, min(READ_BYTES, size - at)) for at in range(0, size, READ_BYTES)][::-1]
        under_way: list[tuple[int, int, int]] = []
        end = size
        while todo or under_way:
            while todo and len(under_way) < READS_AHEAD:
                at, length = todo.pop()
                under_way.append((self._ask(wire.CMD_READ, handle, wire.int64(at), length), at, length))
            number, at, length = under_way.pop(0)
            kind, answer = self._answer(number)
            if kind == wire.CMD_DATA:
                data = answer.get_binary()
                pieces[at : at + len(data)] = data
                if len(data) < length:
                    todo.append((at + len(data), length - len(data)))
            elif (code := answer.get_int()) == wire.SFTP_EOF:
                end = min(end, at)
            else:
                raise _refusal(b"read", code, answer)
        return bytes(pieces[:end])

    def look(self, path: bytes) -> Entry | None:
        with _foreign(path):
            try:
                found = self.client.lstat(path)
            except FileNotFoundError:
                return None
            return Entry(path, found.st_size, found.st_mtime)

    def move(self, path: bytes, to: bytes) -> None:
        with _foreign(path):
            try:
                self.client.posix_rename(path, to)
            except FileNotFoundError as error:
                raise Gone(repr(path)) from error

    def make_directory(self, directory: bytes) -> None:
        with _foreign(directory):
            try:
                self.client.stat(directory)
            except FileNotFoundError:
                with suppress(OSError):  # another fetcher may have been quicker
                    self.client.mkdir(directory)
                self.client.stat(directory)

    def write(self, path: bytes, content: bytes) -> None:
        with _foreign(path):
            self.client.putfo(io.BytesIO(content), path)

    def alive(self) -> bool:
        return self.transport.is_active()

    def close(self) -> None:
        self.transport.close()

    def _ask(self, command: int, *arguments: Any) -> int:
        return int(self.client._async_request(type(None), command, *arguments))  # noqa: SLF001

    def _answer(self, number: int) -> tuple[int, Message]:
        while number not in self.answers:
            kind, data = self.client._read_packet()  # noqa: SLF001
            answer = Message(data)
            answered = answer.get_int()
            self.client._expecting.pop(answered, None)  # noqa: SLF001
            if answered in self.not_awaited:
                self.not_awaited.discard(answered)
            else:
                self.answers[answered] = (kind, answer)
        return self.answers.pop(number)

    def _handle(self, command: int, path: bytes, *arguments: Any) -> bytes:
        kind, answer = self._answer(self._ask(command, path, *arguments))
        if kind == wire.CMD_HANDLE:
            return answer.get_binary()
        raise _refusal(path, answer.get_int(), answer)

    def _close(self, handle: bytes) -> None:
        """Not waited for: it saves a round trip a file."""
        self.not_awaited.add(self._ask(wire.CMD_CLOSE, handle))


def _refusal(path: bytes, code: int, answer: Message) -> Gone | Unreachable:
    """A status other than what was asked for; some servers tell of a missing directory only when it is read."""
    return Gone(repr(path)) if code == wire.SFTP_NO_SUCH_FILE else Unreachable(f"{path!r}: {answer.get_text()}")


class _Names:
    """Reads an SSH_FXP_NAME answer (draft-ietf-secsh-filexfer-02, sections 5 and 7) without decoding any name."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 4  # after the request's number

    def u32(self) -> int:
        self.at += 4
        return int(_U32.unpack_from(self.data, self.at - 4)[0])

    def text(self) -> bytes:
        length = self.u32()
        self.at += length
        return self.data[self.at - length : self.at]

    def attributes(self) -> tuple[int, int, int]:
        """Size, mode, mtime."""
        flags, size, mode, mtime_s = self.u32(), 0, 0, 0
        if flags & paramiko.SFTPAttributes.FLAG_SIZE:
            size = (self.u32() << 32) | self.u32()
        if flags & paramiko.SFTPAttributes.FLAG_UIDGID:
            self.at += 8
        if flags & paramiko.SFTPAttributes.FLAG_PERMISSIONS:
            mode = self.u32()
        if flags & paramiko.SFTPAttributes.FLAG_AMTIME:
            _atime, mtime_s = self.u32(), self.u32()
        if flags & paramiko.SFTPAttributes.FLAG_EXTENDED:
            for _ in range(2 * self.u32()):
                self.text()
        return size, mode, mtime_s


def _entries(data: bytes) -> Iterator[Entry]:
    names = _Names(data)
    for _ in range(names.u32()):
        name, _long_name = names.text(), names.text()
        size, mode, mtime_s = names.attributes()
        if stat.S_ISREG(mode):
            yield Entry(name, size, mtime_s)


@contextmanager
def _foreign(path: bytes) -> Iterator[None]:
    """Paramiko's failures in our two words."""
    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:  # SSHException is no OSError
        raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error


def connect(endpoint: Endpoint, settings: Remote) -> SftpSession:
    """Log in, the host's key verified.

    Raises:
        Unreachable: no connection, an unknown host key, or login refused.
    """
    try:
        line = socket.create_connection((endpoint.host, endpoint.port), timeout=settings.timeout_s)
    except OSError as error:
        raise Unreachable(f"{endpoint!r}: {error}") from error
    # Paramiko never does: without it each window update waits for a delayed acknowledgement (40 ms).
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    transport = paramiko.Transport(line)
    try:
        options = transport.get_security_options()
        options.ciphers = (*FAST_CIPHERS, *(c for c in options.ciphers if c not in FAST_CIPHERS))
        transport.start_client(timeout=settings.timeout_s)
        _verify(endpoint, transport.get_remote_server_key(), settings.known_hosts)
        if endpoint.key_file:
            transport.auth_publickey(endpoint.username, paramiko.PKey.from_path(endpoint.key_file))
        else:
            transport.auth_password(endpoint.username, endpoint.login_password)
        transport.set_keepalive(KEEPALIVE_S)
        return SftpSession(transport, settings.timeout_s)
    except paramiko.AuthenticationException as error:
        transport.close()
        raise LoginRefused(f"{endpoint!r}: {error}") from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        transport.close()
        raise Unreachable(f"{endpoint!r}: {type(error).__name__} {error}") from error
    except Unreachable:
        transport.close()
        raise


def _verify(endpoint: Endpoint, key: paramiko.PKey, known_hosts: str) -> None:
    name = endpoint.host if endpoint.port == 22 else f"[{endpoint.host}]:{endpoint.port}"
    known = paramiko.HostKeys(known_hosts or None)
    if not known.check(name, key):
        raise Unreachable(
            f"{endpoint!r}: host key {key.get_name()} {key.fingerprint} is not in "
            f"{known_hosts or 'any known-hosts file'}; check it, then add it "
            f"(ssh-keyscan -p {endpoint.port} {endpoint.host})"
        )
