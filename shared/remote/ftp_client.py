"""FTP and FTPS clients of ftplib with what it lacks: TLS session resumption, implicit TLS, bounded replies."""

import ftplib
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic
from typing import Any

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.session import Denied, LoginRefused, MinimumRate
from shared.remote.tcp import enable_keepalive
from shared.settings import Remote

ENCODING = "latin-1"
"""Maps every byte to one character and back: names are bytes."""
UNSUPPORTED = frozenset(("500", "502", "504"))
"""Replies to a command that a server does not implement."""
FTP_RECEIVE_BYTES = 1 << 18
REPLY_LINES = 1000
"""The most of one reply: a banner may be long, but a reply that never ends would keep its caller for ever."""


class _BoundedReplies(ftplib.FTP):
    def getmultiline(self) -> str:
        lines = [self.getline()]
        code, until_s = lines[0][:3], monotonic() + 2 * float(self.timeout or 60.0)
        while lines[0][3:4] == "-" and (len(lines) == 1 or lines[-1][:3] != code or lines[-1][3:4] == "-"):
            if len(lines) >= REPLY_LINES or monotonic() > until_s:
                raise Unreachable(f"the server sends a reply that does not end: {lines[0][:80]}")
            lines.append(self.getline())
        return "\n".join(lines)


class _Tls(_BoundedReplies, ftplib.FTP_TLS):
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
        self.host, self.af, self.timeout = host, plain.family, timeout
        self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


def connected_client(endpoint: Endpoint, settings: Remote) -> ftplib.FTP:
    """Connects and logs in. With TLS, verifies the server's certificate and encrypts the data connections too.

    Raises:
        Unreachable: no connection, the certificate cannot be verified, or a reply that makes no sense.
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
    except Unreachable:
        client.close()
        raise
    except Exception as error:
        client.close()
        raise Unreachable(f"{endpoint!r}: {type(error).__name__} {error}") from error
    return client


def _trust(settings: Remote) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_file or None)


_CLIENTS: dict[str, Callable[[Remote], ftplib.FTP]] = {
    "ftp": lambda _: _BoundedReplies(),
    "ftps": lambda settings: _Tls(context=_trust(settings)),
    "ftps-implicit": lambda settings: _ImplicitTls(context=_trust(settings)),
}


def data_chunks(client: ftplib.FTP, command: str, timeout_s: float) -> Generator[bytes, None, None]:
    """Yields what arrives on a data connection. If the caller stops early, reads the server's reply."""
    rate, whole = MinimumRate(timeout_s), False
    data = client.transfercmd(command)
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
                client.voidresp()
    client.voidresp()


def argument(path: bytes) -> str:
    """Returns a path as an argument of an FTP command.

    Raises:
        Denied: the path contains a line break, which would end the command, or a zero byte.
    """
    if b"\r" in path or b"\n" in path or b"\0" in path:
        raise Denied(f"{path!r}: FTP cannot transmit a line break or a zero byte in a path")
    return path.decode(ENCODING)
