"""Sessions over SFTP. The only module that imports paramiko, which provides SSH; `sftp_requests` implements SFTP on it.

A channel has one owner: threads that share a channel take each other's responses and hang.
"""

import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

import paramiko

from shared.configuration.file_snapshots import COMPARE_AFTER_S
from shared.configuration.secret_files import secret
from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote import sftp_requests as wire
from shared.remote.known_hosts import known_keys
from shared.remote.listing import ListingBudget, ListingLimits
from shared.remote.session import Denied, Entry, Gone, LoginRefused, OddEntry, Owned, raised, unexpected
from shared.remote.sftp_files import FileCommands
from shared.remote.sftp_reads import Download, Downloads, ServerCapabilities
from shared.remote.sftp_requests import Requests, Response, refusal, text, u32, u64
from shared.remote.sftp_walk import Walk
from shared.remote.tcp import enable_keepalive
from shared.settings import Remote

KEEPALIVE_S = 15
"""Interval of SSH keepalive messages, which detect a broken connection."""
LOOK_S = 5.0
"""Interval at which the thread of a silent connection wakes up; paramiko's 0.1 s cost 0.2 ms of CPU per second each."""
WRITE_BYTES = 32 << 10
FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
OLD_CIPHERS, OLD_MACS = ("-cbc",), ("md5", "-sha1")
"""Parts of the names of algorithms that only an endpoint with `legacy_algorithms` may use."""


class SftpSession(Owned):
    """Implements `session.Session` on an SFTP channel."""

    limits = ListingLimits()

    def __init__(self, transport: paramiko.Transport, timeout_s: float) -> None:
        super().__init__()
        self.transport = transport
        channel = transport.open_session(timeout=timeout_s)
        channel.settimeout(timeout_s)
        channel.invoke_subsystem("sftp")
        self.requests = Requests(channel, timeout_s)
        self.requests.greet()
        self.capabilities = ServerCapabilities()
        transport.sock.settimeout(LOOK_S)
        self.commands = FileCommands(self.requests, self.entries)

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, skip: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | OddEntry | Denied]]:
        self.traffic.listings += 1
        with self._foreign(directory):
            yield from Walk(self.requests, (directory, depth), skip, ListingBudget(self.limits)).run()

    def read(self, path: bytes, size: int) -> bytes:
        return b"".join(self._one(Download(path, size)).pieces)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        return self._one(Download(path, size, out)).taken

    def _one(self, file: Download) -> Download:
        with self._foreign(file.path):
            for _ in Downloads(self.requests, self.capabilities, [file]).run():
                if file.refused:
                    raise file.refused
        self.traffic.count_file(file.taken)
        return file

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        with self._foreign(b"files"):
            for file in Downloads(self.requests, self.capabilities, (Download(*file) for file in files)).run():
                if not file.refused:
                    self.traffic.count_file(file.taken)
                yield file.path, file.refused or b"".join(file.pieces)

    def look(self, path: bytes) -> Entry | None:
        return raised(self.look_all([path])[0])

    def look_all(self, paths: Sequence[bytes]) -> list[Entry | Gone | Denied | None]:
        with self._foreign(_first(paths)):
            return self.commands.look(paths)

    def move(self, path: bytes, to: bytes) -> None:
        raised(self.move_all([(path, to)])[0])

    def move_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Gone | Denied | None]:
        with self._foreign(_first([path for path, _ in pairs])):
            return self.commands.move(pairs)

    def delete(self, path: bytes) -> None:
        raised(self.delete_all([path])[0])

    def delete_all(self, paths: Sequence[bytes]) -> list[Gone | Denied | None]:
        with self._foreign(_first(paths)):
            return self.commands.delete(paths)

    def make_directory(self, directory: bytes) -> None:
        raised(self.make_directories([directory])[0])

    def make_directories(self, directories: Sequence[bytes]) -> list[Gone | Denied | None]:
        with self._foreign(_first(directories)):
            return self.commands.make_directories(directories)

    def write(self, path: bytes, content: bytes) -> None:
        with self._foreign(path):
            response = self.requests.call(wire.OPEN, text(path), u32(wire.FOR_WRITING), wire.NO_ATTRIBUTES)
            if response.kind != wire.HANDLE:
                self.commands.known_directories.clear()
                raise refusal(path, response)
            handle = text(response.text)
            for at in range(0, len(content), WRITE_BYTES):
                piece = content[at : at + WRITE_BYTES]
                _expect_ok(path, self.requests.call(wire.WRITE, handle, u64(at), text(piece)))
            _expect_ok(path, self.requests.call(wire.CLOSE, handle))

    def alive(self) -> bool:
        return self.transport.is_active()

    def check(self) -> None:
        with self._foreign(b"."):
            self.requests.call(wire.REALPATH, text(b"."))

    def close(self) -> None:
        with suppress(OSError):
            self.transport.sock.shutdown(socket.SHUT_RDWR)  # wakes the connection's thread
        self.transport.close()

    def abort(self) -> None:
        self.close()

    @contextmanager
    def _foreign(self, path: bytes) -> Iterator[None]:
        """Translates whatever paramiko or a malformed packet raises into Unreachable."""
        self.check_owner()
        try:
            yield
        except (Unreachable, Hopeless):
            raise
        except TimeoutError as error:
            raise Unreachable(f"{path!r}: timed out, no data for {self.requests.rate.timeout_s:.0f} s") from error
        except (OSError, EOFError, paramiko.SSHException) as error:  # SSHException is no OSError
            raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error
        except (struct.error, IndexError) as error:
            raise Unreachable(f"{path!r}: the server sent an incomplete SFTP packet") from error
        except Exception as error:
            raise unexpected(path, error) from error


def _first(paths: Sequence[bytes]) -> bytes:
    """Returns the path that stands for all in an error of the connection."""
    return paths[0] if paths else b"."


def _expect_ok(path: bytes, response: Response) -> None:
    if response.code != wire.OK:
        raise refusal(path, response)


def connect_sftp(endpoint: Endpoint, settings: Remote) -> SftpSession:
    """Connects, verifies the host key, and logs in by key file, SSH agent or password, the first that is configured.

    Raises:
        Unreachable: no connection, an unknown or changed host key, or no algorithm in common.
        LoginRefused: the server rejected the login, or the key file cannot be read.
    """
    try:
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout=settings.timeout_s)
    except OSError as error:
        raise Unreachable(f"{endpoint!r}: {error}") from error
    enable_keepalive(connection, settings.timeout_s)
    try:
        transport = paramiko.Transport(connection)
    except Exception as error:
        connection.close()
        raise Unreachable(f"{endpoint!r}: {type(error).__name__} {error}") from error
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
    """Translates an error raised while connecting; one that ends the process is returned unchanged."""
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
            return Unreachable(f"{endpoint!r}: the server refused to open an SFTP channel: {error}")
        case Exception():
            return Unreachable(f"{endpoint!r}: {type(error).__name__} {error}")
    return error


def _choose_algorithms(transport: paramiko.Transport, *, legacy: bool) -> None:
    """Prefers fast ciphers; allows broken algorithms only if `legacy` is set."""
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
        return paramiko.PKey.from_path(endpoint.key_file, passphrase)  # type: ignore[arg-type] # it accepts bytes only
    except (OSError, ValueError, TypeError, paramiko.SSHException) as error:
        hint = "is the passphrase right?" if passphrase else "an encrypted key needs `passphrase-file`"
        raise LoginRefused(f"{endpoint!r}: key {endpoint.key_file} cannot be read ({error}); {hint}") from error


def _log_in_by_agent(transport: paramiko.Transport, endpoint: Endpoint) -> None:
    agent = paramiko.Agent()
    try:
        keys = agent.get_keys()
        if not keys:
            raise LoginRefused(f"{endpoint!r}: no SSH agent is running, or it holds no key (check SSH_AUTH_SOCK)")
        for key in keys:
            with suppress(paramiko.AuthenticationException):
                transport.auth_publickey(endpoint.username, key)
                return
        raise LoginRefused(f"{endpoint!r}: the server accepts none of the {len(keys)} keys of the SSH agent")
    finally:
        agent.close()


def _verify(endpoint: Endpoint, key: paramiko.PKey, known_hosts: str) -> None:
    """Checks the host key against the known-hosts file.

    Raises:
        Unreachable: the key is unknown or differs from the known one.
    """
    name = endpoint.host if endpoint.port == 22 else f"[{endpoint.host}]:{endpoint.port}"
    known: Sequence[paramiko.PKey] = ()
    for max_age_s in (COMPARE_AFTER_S, 0.0) if known_hosts else ():  # before it refuses a key, it reads the file again
        try:
            known = known_keys(name, known_hosts, max_age_s)
        except FileNotFoundError:
            raise Unreachable(f"{endpoint!r}: the known-hosts file {known_hosts} does not exist") from None
        if any(found.asbytes() == key.asbytes() for found in known):
            return
    shown = f"host key {key.get_name()} {key.fingerprint}"
    if known:
        raise Unreachable(
            f"{endpoint!r}: {shown} differs from the key in {known_hosts}: the host was reinstalled, or another "
            f"machine responds in its place; find out which before you replace the line in the file"
        )
    raise Unreachable(
        f"{endpoint!r}: {shown} is not in {known_hosts or 'any known-hosts file'}; verify the key, then add it "
        f"(ssh-keyscan -p {endpoint.port} {endpoint.host})"
    )
