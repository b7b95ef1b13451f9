"""Sessions over FTP and explicit or implicit FTPS. The only module that imports ftplib.

Names are bytes: ftplib uses Latin-1 here, which maps every byte to one character and back.
"""

import ftplib
import io
import select
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, BinaryIO

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.session import (
    Denied,
    Entry,
    Gone,
    LoginRefused,
    MinimumRate,
    Owned,
    child,
    is_plain_name,
    read_each,
    subtrees,
)
from shared.remote.tcp import enable_keepalive
from shared.settings import Remote

ENCODING = "latin-1"
NOT_FOUND = "550"
NOT_IMPLEMENTED = ("500", "501", "502", "504")
FORBIDDEN = ("permission", "denied", "not enough privileges")
FTP_RECEIVE_BYTES = 1 << 18


class _Tls(ftplib.FTP_TLS):
    """FTPS whose data connections resume the TLS session of the control connection, as vsftpd requires."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        plain, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS is added below
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        try:
            return self.context.wrap_socket(plain, server_hostname=self.host, session=session), size
        except BaseException:
            plain.close()
            raise


class _ImplicitTls(_Tls):
    """Implicit FTPS: TLS from the first byte on. Ftplib supports only explicit FTPS (AUTH TLS)."""

    def connect(self, host: str = "", port: int = 0, timeout: float = -999, source_address: Any = None) -> str:  # noqa: ARG002 - signature of ftplib
        plain = socket.create_connection((host, port), timeout)
        self.host, self.af = host, plain.family
        self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


class FtpSession(Owned):
    """Implements `session.Session` over FTP."""

    def __init__(self, client: ftplib.FTP, timeout_s: float) -> None:
        super().__init__()
        self.client = client
        self.timeout_s = timeout_s
        self.knows_mlsd = True

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, skip: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | Denied]]:
        self.traffic.listings += 1
        directories: list[bytes] = []
        with self._foreign(directory):
            for name, entry in self._listing(directory, wants_directories=depth > 0):
                if entry is not None:
                    yield directory, entry
                elif depth > 0 and name not in skip:
                    directories.append(child(directory, name))
        yield from subtrees(self, directories, depth, skip)

    def _listing(self, directory: bytes, *, wants_directories: bool) -> Iterator[tuple[bytes, Entry | None]]:
        """Yields each name with its entry, or with None if it is a directory."""
        if self.knows_mlsd:
            try:
                yield from self._mlsd(directory)
            except ftplib.error_perm as error:
                if not str(error).startswith(NOT_IMPLEMENTED):
                    raise
                self.knows_mlsd = False
            else:
                return
        for name in self._names(directory):
            entry = self._entry(child(directory, name))
            if entry is not None:
                yield name, Entry(name, entry.size, entry.mtime_s)
            elif wants_directories and self._is_directory(child(directory, name)):
                yield name, None

    def _mlsd(self, directory: bytes) -> Iterator[tuple[bytes, Entry | None]]:
        """Lists by MLSD (RFC 3659 clause 7) in bounded memory. Its facts are unambiguous, unlike the lines of LIST."""
        self.client.voidcmd("TYPE A")
        rest = b""
        for chunk in self._data_chunks(f"MLSD {_text(directory)}"):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                facts, _, name = line.rstrip(b"\r").partition(b" ")
                fact = dict(_fact(part) for part in facts.decode(ENCODING).split(";") if part)
                if not is_plain_name(name):
                    continue
                if (kind := fact.get("type", "").lower()) == "file":
                    yield name, Entry(name, int(fact["size"]), _epoch_s(fact["modify"]))
                elif kind == "dir":
                    yield name, None

    def _names(self, directory: bytes) -> list[bytes]:
        """Returns the names in a directory, for servers without MLSD."""
        try:
            names = self.client.nlst(_text(directory))
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND) and self._is_directory(directory):
                return []  # some servers reply 550 for an empty directory
            raise
        if not names and not self._is_directory(directory):
            raise Gone(repr(directory))  # some servers list nothing for a missing directory
        plain = (name.rpartition("/")[2].encode(ENCODING) for name in names)
        return [name for name in plain if is_plain_name(name)]

    def _is_directory(self, directory: bytes) -> bool:
        here = self.client.pwd()
        try:
            self.client.cwd(_text(directory))
            self.client.cwd(here)
        except ftplib.error_perm:
            return False
        return True

    def read(self, path: bytes, size: int) -> bytes:
        out = io.BytesIO()
        self.read_to(path, size, out)
        return out.getvalue()

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        return read_each(self, files)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        left = size
        with self._foreign(path):
            self.client.voidcmd("TYPE I")
            for chunk in self._data_chunks(f"RETR {_text(path)}"):
                left -= out.write(chunk[:left])
        self.traffic.count_file(size - left)
        return size - left

    def _data_chunks(self, command: str) -> Iterator[bytes]:
        """Yields what arrives on a data connection. If the caller stops early, reads the server's reply."""
        rate, whole = MinimumRate(self.timeout_s), False
        data = self.client.transfercmd(command)
        try:
            while not whole:
                began_s = monotonic()
                chunk = data.recv(FTP_RECEIVE_BYTES)
                rate.count(monotonic() - began_s, len(chunk))
                whole = not chunk
                yield chunk
            if isinstance(data, ssl.SSLSocket):
                with suppress(OSError):  # many servers do not close TLS properly
                    data.unwrap()
        finally:
            data.close()
            if not whole:
                with suppress(*ftplib.all_errors):
                    self.client.voidresp()
        self.client.voidresp()

    def look(self, path: bytes) -> Entry | None:
        with self._foreign(path):
            return self._entry(path)

    def _entry(self, path: bytes) -> Entry | None:
        try:
            self.client.voidcmd("TYPE I")
            size = self.client.size(_text(path))
            modified = self.client.voidcmd(f"MDTM {_text(path)}").split()[1]
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND):
                return None
            raise
        return None if size is None else Entry(path, size, _epoch_s(modified))

    def move(self, path: bytes, to: bytes) -> None:
        with self._foreign(path):
            self.client.rename(_text(path), _text(to))

    def delete(self, path: bytes) -> None:
        with self._foreign(path):
            self.client.delete(_text(path))

    def make_directory(self, directory: bytes) -> None:
        with self._foreign(directory):
            if not self._is_directory(directory):
                with suppress(ftplib.error_perm):  # another fetcher may have created it in the meantime
                    self.client.mkd(_text(directory))
                if not self._is_directory(directory):
                    raise Unreachable(f"{directory!r}: cannot create the directory; check the login's write permission")

    def write(self, path: bytes, content: bytes) -> None:
        with self._foreign(path):
            self.client.storbinary(f"STOR {_text(path)}", io.BytesIO(content))

    def alive(self) -> bool:
        """Tells whether the idle connection is open. It is readable after the server has closed it or sent a reply."""
        control = self.client.sock
        return control is not None and control.fileno() >= 0 and not select.select([control], [], [], 0)[0]

    def check(self) -> None:
        with self._foreign(b"."):
            self.client.voidcmd("NOOP")

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def _foreign(self, path: bytes) -> Iterator[None]:
        """Translates errors of ftplib into Gone, Denied and Unreachable."""
        self.check_owner()
        try:
            yield
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND):
                raise self._missing_or_denied(path, str(error)) from error
            raise Denied(f"{path!r}: {error}") from error
        except TimeoutError as error:
            raise Unreachable(f"{path!r}: timed out, no data for {self.timeout_s:.0f} s") from error
        except (ftplib.Error, OSError, EOFError, ValueError) as error:
            raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error

    @staticmethod
    def _missing_or_denied(path: bytes, reply: str) -> Gone | Denied:
        """Interprets reply 550, which servers send for missing and for forbidden files: only its text tells which."""
        forbidden = any(word in reply.lower() for word in FORBIDDEN)
        return Denied(f"{path!r}: {reply}") if forbidden else Gone(f"{path!r}: {reply}")


def connect_ftp(endpoint: Endpoint, settings: Remote) -> FtpSession:
    """Connects and logs in. With TLS, verifies the server's certificate and encrypts the data connections too.

    Raises:
        Unreachable: no connection, or the certificate cannot be verified.
        LoginRefused: the server rejected the login.
    """
    client: ftplib.FTP = _CLIENTS[endpoint.protocol](settings)
    client.encoding = ENCODING
    try:
        client.connect(endpoint.host, endpoint.port, settings.timeout_s)
        if client.sock is not None:
            enable_keepalive(client.sock, settings.timeout_s)
        client.set_pasv(not endpoint.active_mode)
        client.login(endpoint.username, endpoint.login_password)
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
    except ftplib.error_perm as error:
        client.close()
        raise LoginRefused(f"{endpoint!r}: {error}") from error
    except ftplib.all_errors as error:
        client.close()
        raise Unreachable(f"{endpoint!r}: {type(error).__name__} {error}") from error
    return FtpSession(client, settings.timeout_s)


def _trust(settings: Remote) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_file or None)


_CLIENTS: dict[str, Callable[[Remote], ftplib.FTP]] = {
    "ftp": lambda _: ftplib.FTP(),  # noqa: S321 - some elements support nothing else
    "ftps": lambda settings: _Tls(context=_trust(settings)),
    "ftps-implicit": lambda settings: _ImplicitTls(context=_trust(settings)),
}


def _text(path: bytes) -> str:
    """Returns a path as an argument of an FTP command.

    Raises:
        ValueError: the path contains a line break, which would end the command.
    """
    if b"\r" in path or b"\n" in path:
        raise ValueError("the path contains a line break, which FTP cannot transmit")
    return path.decode(ENCODING)


def _fact(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.lower(), value


def _epoch_s(modified: str) -> int:
    """Converts a time of RFC 3659 (YYYYMMDDhhmmss[.sss], in UTC) to seconds since 1970."""
    return int(datetime.strptime(modified[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
