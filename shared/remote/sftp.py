"""Elements over SFTP: the only module that imports paramiko, and that for SSH alone.

One owner per channel: threads that share one steal each other's answers and hang. `sftp_requests` speaks SFTP on it.
"""

import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import paramiko

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote import sftp_requests as wire
from shared.remote.session import Denied, Entry, Gone, LoginRefused, Owned
from shared.remote.sftp_reads import Ability, Download, Downloads, Walk
from shared.remote.sftp_requests import Answer, Requests, refusal, text, u32, u64
from shared.remote.tcp import keep_watch
from shared.settings import Remote, secret

KEEPALIVE_S = 15
"""Between two signs of life: a line that is cut without a word is found dead."""
WRITE_BYTES = 32 << 10
FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
OLD_CIPHERS, OLD_MACS = ("-cbc",), ("md5", "-sha1")
"""Parts of names of what only an endpoint with `legacy_algorithms` may use."""


class SftpSession(Owned):
    """An SFTP channel. See `session.Session`."""

    def __init__(self, transport: paramiko.Transport, timeout_s: float) -> None:
        super().__init__()
        self.transport = transport
        channel = transport.open_session(timeout=timeout_s)
        channel.settimeout(timeout_s)
        channel.invoke_subsystem("sftp")
        self.requests = Requests(channel, timeout_s)
        self.requests.greet()
        self.ability = Ability()

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, leave: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | Denied]]:
        self.traffic.listings += 1
        with self._foreign(directory):
            yield from Walk(self.requests, directory, depth, leave).run()

    def read(self, path: bytes, size: int) -> bytes:
        return b"".join(self._one(Download(path, size)).pieces)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        return self._one(Download(path, size, out)).taken

    def _one(self, file: Download) -> Download:
        with self._foreign(file.path):
            for _ in Downloads(self.requests, self.ability, [file]).run():
                if file.refused:
                    raise file.refused
        self.traffic.got(file.taken)
        return file

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        with self._foreign(b"files"):
            for file in Downloads(self.requests, self.ability, (Download(*file) for file in files)).run():
                if not file.refused:
                    self.traffic.got(file.taken)
                yield file.path, file.refused or b"".join(file.pieces)

    def look(self, path: bytes) -> Entry | None:
        with self._foreign(path):
            answer = self.requests.answer(wire.LSTAT, text(path))
            if answer.kind == wire.ATTRS:
                found = wire.Reader(answer.body).attributes()
                return found.entry(path) if found.is_file else None
            if answer.code == wire.NO_SUCH_FILE:
                return None
            raise refusal(path, answer)

    def move(self, path: bytes, to: bytes) -> None:
        """POSIX's rename where the server has it, as SFTP's own does not replace."""
        with self._foreign(path):
            answer = self.requests.answer(wire.EXTENDED, text(b"posix-rename@openssh.com"), text(path), text(to))
            if answer.code == wire.UNSUPPORTED:
                answer = self.requests.answer(wire.RENAME, text(path), text(to))
            _done(path, answer)

    def delete(self, path: bytes) -> None:
        with self._foreign(path):
            _done(path, self.requests.answer(wire.REMOVE, text(path)))

    def make_directory(self, directory: bytes) -> None:
        with self._foreign(directory):
            if not self._is_directory(directory):
                made = self.requests.answer(wire.MKDIR, text(directory), wire.NO_ATTRIBUTES)
                if not self._is_directory(directory):  # else another fetcher was quicker
                    raise refusal(directory, made)

    def _is_directory(self, path: bytes) -> bool:
        answer = self.requests.answer(wire.STAT, text(path))
        return answer.kind == wire.ATTRS and wire.Reader(answer.body).attributes().is_directory

    def write(self, path: bytes, content: bytes) -> None:
        with self._foreign(path):
            answer = self.requests.answer(wire.OPEN, text(path), u32(wire.FOR_WRITING), wire.NO_ATTRIBUTES)
            if answer.kind != wire.HANDLE:
                raise refusal(path, answer)
            handle = text(answer.text)
            for at in range(0, len(content), WRITE_BYTES):
                piece = content[at : at + WRITE_BYTES]
                _done(path, self.requests.answer(wire.WRITE, handle, u64(at), text(piece)))
            _done(path, self.requests.answer(wire.CLOSE, handle))

    def alive(self) -> bool:
        return self.transport.is_active()

    def check(self) -> None:
        with self._foreign(b"."):
            self.requests.answer(wire.REALPATH, text(b"."))

    def close(self) -> None:
        self.transport.close()

    @contextmanager
    def _foreign(self, path: bytes) -> Iterator[None]:
        """Paramiko's failures in our two words."""
        self.check_owner()
        try:
            yield
        except TimeoutError as error:
            raise Unreachable(f"{path!r}: stalled, no byte for {self.requests.pace.timeout_s:.0f} s") from error
        except (OSError, EOFError, paramiko.SSHException) as error:  # SSHException is no OSError
            raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error
        except (struct.error, IndexError) as error:
            raise Unreachable(f"{path!r}: the server sent a packet that is not whole") from error


def _done(path: bytes, answer: Answer) -> None:
    if answer.code != wire.OK:
        raise refusal(path, answer)


def connect(endpoint: Endpoint, settings: Remote) -> SftpSession:
    """Log in, the host's key verified; by key file, else agent, else password.

    Raises:
        Unreachable: no connection, an unknown or changed host key, or no algorithm in common.
        LoginRefused: the server does not take the login, or the key file cannot be read.
    """
    try:
        line = socket.create_connection((endpoint.host, endpoint.port), timeout=settings.timeout_s)
    except OSError as error:
        raise Unreachable(f"{endpoint!r}: {error}") from error
    keep_watch(line, settings.timeout_s)
    try:
        transport = paramiko.Transport(line)
    except paramiko.SSHException as error:
        line.close()
        raise Unreachable(f"{endpoint!r}: {error}") from error
    try:
        transport.banner_timeout = transport.auth_timeout = settings.timeout_s
        _choose_algorithms(transport, legacy=endpoint.legacy_algorithms)
        transport.start_client(timeout=settings.timeout_s)
        _verify(endpoint, transport.get_remote_server_key(), settings.known_hosts)
        _log_in(transport, endpoint)
        transport.set_keepalive(KEEPALIVE_S)
        return SftpSession(transport, settings.timeout_s)
    except BaseException as error:
        transport.close()
        raise _connect_failure(endpoint, error) from error


def _connect_failure(endpoint: Endpoint, error: BaseException) -> BaseException:
    match error:
        case Unreachable():
            return error
        case paramiko.AuthenticationException():
            return LoginRefused(f"{endpoint!r}: {error}")
        case paramiko.ssh_exception.IncompatiblePeer():
            hint = (
                "" if endpoint.legacy_algorithms else "; an old server may need `legacy-algorithms: true` in its entry"
            )
            return Unreachable(f"{endpoint!r}: {error}{hint}")
        case paramiko.ChannelException():
            return Unreachable(f"{endpoint!r}: the server gives no more channels: {error}")
        case OSError() | EOFError() | paramiko.SSHException():
            return Unreachable(f"{endpoint!r}: {type(error).__name__} {error}")
    return error


def _choose_algorithms(transport: paramiko.Transport, *, legacy: bool) -> None:
    """The fast ciphers first; what is broken only on request."""
    options = transport.get_security_options()
    ciphers = (*FAST_CIPHERS, *(c for c in options.ciphers if c not in FAST_CIPHERS))
    if legacy:
        options.ciphers = ciphers
        return
    options.ciphers = tuple(c for c in ciphers if not c.endswith(OLD_CIPHERS))
    options.digests = tuple(m for m in options.digests if not any(old in m for old in OLD_MACS))


def _log_in(transport: paramiko.Transport, endpoint: Endpoint) -> None:
    if endpoint.key_file:
        transport.auth_publickey(endpoint.username, _key(endpoint))
    elif endpoint.agent:
        _log_in_by_agent(transport, endpoint)
    else:
        transport.auth_password(endpoint.username, endpoint.login_password)


def _key(endpoint: Endpoint) -> paramiko.PKey:
    passphrase = secret("", endpoint.passphrase_file).encode() or None
    try:
        return paramiko.PKey.from_path(endpoint.key_file, passphrase)  # type: ignore[arg-type] # it takes bytes alone
    except (OSError, ValueError, TypeError, paramiko.SSHException) as error:
        hint = "is the passphrase right?" if passphrase else "an encrypted one needs `passphrase-file`"
        raise LoginRefused(f"{endpoint!r}: key {endpoint.key_file} cannot be read ({error}); {hint}") from error


def _log_in_by_agent(transport: paramiko.Transport, endpoint: Endpoint) -> None:
    agent = paramiko.Agent()
    try:
        keys = agent.get_keys()
        if not keys:
            raise LoginRefused(f"{endpoint!r}: no SSH agent, or it holds no key (SSH_AUTH_SOCK)")
        for key in keys:
            with suppress(paramiko.AuthenticationException):
                transport.auth_publickey(endpoint.username, key)
                return
        raise LoginRefused(f"{endpoint!r}: none of the agent's {len(keys)} keys is accepted")
    finally:
        agent.close()


def _verify(endpoint: Endpoint, key: paramiko.PKey, known_hosts: str) -> None:
    name = endpoint.host if endpoint.port == 22 else f"[{endpoint.host}]:{endpoint.port}"
    known = paramiko.HostKeys()
    if known_hosts:
        if not Path(known_hosts).exists():
            raise Unreachable(f"{endpoint!r}: known-hosts file {known_hosts} is not there")
        known.load(known_hosts)
    if known.check(name, key):
        return
    shown = f"host key {key.get_name()} {key.fingerprint}"
    if known.lookup(name):
        raise Unreachable(
            f"{endpoint!r}: {shown} is another than {known_hosts} has: the host was set up anew, or this is not the "
            f"host; only when you know why, replace its line"
        )
    raise Unreachable(
        f"{endpoint!r}: {shown} is not in {known_hosts or 'any known-hosts file'}; check it, then add it "
        f"(ssh-keyscan -p {endpoint.port} {endpoint.host})"
    )
