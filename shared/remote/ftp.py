"""Elements over FTP, and FTPS explicit or implicit: the only module that imports ftplib.

Names are bytes here too: ftplib is told Latin-1, which maps every byte to a character and back.
"""

import ftplib
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.session import Entry, Gone, LoginRefused
from shared.settings import Remote

ENCODING = "latin-1"
NOT_FOUND = "550"
NOT_IMPLEMENTED = ("500", "501", "502", "504")
IMPLICIT_PORT = 990


class _ImplicitTls(ftplib.FTP_TLS):
    """TLS from the first byte on; ftplib knows only the explicit way, AUTH TLS on a plain line."""

    def connect(self, host: str = "", port: int = 0, timeout: float = -999, source_address: Any = None) -> str:  # noqa: ARG002 - ftplib's
        plain = socket.create_connection((host, port), timeout)
        self.host, self.af = host, plain.family
        self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


class FtpSession:
    """See `session.Session`."""

    def __init__(self, client: ftplib.FTP) -> None:
        self.client = client
        self.knows_mlsd = True

    def entries(self, directory: bytes) -> Iterator[Entry]:
        with self._foreign(directory):
            try:
                found = self._mlsd(directory) if self.knows_mlsd else self._one_by_one(directory)
            except ftplib.error_perm as error:
                if not str(error).startswith(NOT_IMPLEMENTED):
                    raise
                self.knows_mlsd = False
                found = self._one_by_one(directory)
        yield from found

    def _mlsd(self, directory: bytes) -> list[Entry]:
        """RFC 3659 clause 7: facts that need no guessing, unlike the lines of LIST."""
        facts = list(self.client.mlsd(_text(directory), ["type", "size", "modify"]))
        return [
            Entry(name.encode(ENCODING), int(fact["size"]), _epoch_s(fact["modify"]))
            for name, fact in facts
            if fact.get("type", "").lower() == "file"
        ]

    def _one_by_one(self, directory: bytes) -> list[Entry]:
        """For servers without MLSD: names, then size and time of each; directories have no size."""
        try:
            names = self.client.nlst(_text(directory))
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND) and self._is_directory(directory):
                return []  # some say 550 of an empty directory
            raise
        plain = (name.rpartition("/")[2].encode(ENCODING) for name in names)
        looked = ((name, self._entry(directory.rstrip(b"/") + b"/" + name)) for name in plain)
        return [Entry(name, entry.size, entry.mtime_s) for name, entry in looked if entry]

    def _is_directory(self, directory: bytes) -> bool:
        here = self.client.pwd()
        try:
            self.client.cwd(_text(directory))
            self.client.cwd(here)
        except ftplib.error_perm:
            return False
        return True

    def read(self, path: bytes, size: int) -> bytes:
        pieces = bytearray()

        def take(piece: bytes) -> None:
            pieces.extend(piece[: size - len(pieces)])

        with self._foreign(path):
            self.client.retrbinary(f"RETR {_text(path)}", take)
        return bytes(pieces)

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

    def make_directory(self, directory: bytes) -> None:
        with self._foreign(directory):
            if not self._is_directory(directory):
                with suppress(ftplib.error_perm):  # another fetcher may have been quicker
                    self.client.mkd(_text(directory))
                if not self._is_directory(directory):
                    raise Unreachable(f"{directory!r}: cannot be made")

    def write(self, path: bytes, content: bytes) -> None:
        with self._foreign(path):
            self.client.storbinary(f"STOR {_text(path)}", io.BytesIO(content))

    def alive(self) -> bool:
        return self.client.sock is not None

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def _foreign(self, path: bytes) -> Iterator[None]:
        """Ftplib's failures in our two words."""
        try:
            yield
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND):
                raise Gone(f"{path!r}: {error}") from error
            raise Unreachable(f"{path!r}: {error}") from error
        except (ftplib.Error, OSError, EOFError, ValueError) as error:
            raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error


def connect(endpoint: Endpoint, settings: Remote) -> FtpSession:
    """Log in; with TLS the server's certificate is verified, and the data lines are encrypted too.

    Raises:
        Unreachable: no connection, a certificate that cannot be trusted, or login refused.
    """
    client: ftplib.FTP = _CLIENTS[endpoint.protocol](settings)
    client.encoding = ENCODING
    try:
        client.connect(endpoint.host, endpoint.port, settings.timeout_s)
        if client.sock is not None:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.login(endpoint.username, endpoint.login_password)
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
    except ftplib.error_perm as error:
        client.close()
        raise LoginRefused(f"{endpoint!r}: {error}") from error
    except ftplib.all_errors as error:
        client.close()
        raise Unreachable(f"{endpoint!r}: {type(error).__name__} {error}") from error
    return FtpSession(client)


def _trust(settings: Remote) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_file or None)


_CLIENTS: dict[str, Callable[[Remote], ftplib.FTP]] = {
    "ftp": lambda _: ftplib.FTP(),  # noqa: S321 - elements that know nothing else
    "ftps": lambda settings: ftplib.FTP_TLS(context=_trust(settings)),  # noqa: S321 - and it is TLS
    "ftps-implicit": lambda settings: _ImplicitTls(context=_trust(settings)),
}


def _text(path: bytes) -> str:
    """A path for a command line of FTP.

    Raises:
        ValueError: it has a line break, which would end the command.
    """
    if b"\r" in path or b"\n" in path:
        raise ValueError("FTP cannot name a path with a line break")
    return path.decode(ENCODING)


def _epoch_s(modified: str) -> int:
    """YYYYMMDDhhmmss[.sss] of RFC 3659, which is UTC."""
    return int(datetime.strptime(modified[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
