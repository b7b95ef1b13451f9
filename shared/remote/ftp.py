"""Elements over FTP, and FTPS explicit or implicit: the only module that imports ftplib.

Names are bytes here too: ftplib is told Latin-1, which maps every byte to a character and back.
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
from shared.remote.session import Denied, Entry, Gone, LoginRefused, Owned, Pace, below, child, is_name, one_by_one
from shared.remote.tcp import keep_watch
from shared.settings import Remote

ENCODING = "latin-1"
NOT_FOUND = "550"
NOT_IMPLEMENTED = ("500", "501", "502", "504")
FORBIDDEN = ("permission", "denied", "not enough privileges")
PIECE_BYTES = 1 << 18


class _Tls(ftplib.FTP_TLS):
    """Data lines resume the control line's TLS session: vsftpd's require_ssl_reuse demands it, ftplib does not."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        line, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS comes on top
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        try:
            return self.context.wrap_socket(line, server_hostname=self.host, session=session), size
        except BaseException:
            line.close()
            raise


class _ImplicitTls(_Tls):
    """TLS from the first byte on; ftplib knows only the explicit way, AUTH TLS on a plain line."""

    def connect(self, host: str = "", port: int = 0, timeout: float = -999, source_address: Any = None) -> str:  # noqa: ARG002 - ftplib's
        plain = socket.create_connection((host, port), timeout)
        self.host, self.af = host, plain.family
        self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


class FtpSession(Owned):
    """See `session.Session`."""

    def __init__(self, client: ftplib.FTP, timeout_s: float) -> None:
        super().__init__()
        self.client = client
        self.timeout_s = timeout_s
        self.knows_mlsd = True

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, leave: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | Denied]]:
        self.traffic.listings += 1
        directories: list[bytes] = []
        with self._foreign(directory):
            for name, entry in self._listing(directory, wants_directories=depth > 0):
                if entry is not None:
                    yield directory, entry
                elif depth > 0 and name not in leave:
                    directories.append(child(directory, name))
        yield from below(self, directories, depth, leave)

    def _listing(self, directory: bytes, *, wants_directories: bool) -> Iterator[tuple[bytes, Entry | None]]:
        """Names with their entry, or None of a directory."""
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
        """RFC 3659 clause 7: facts that need no guessing, unlike the lines of LIST. In bounded memory."""
        self.client.voidcmd("TYPE A")
        rest = b""
        for piece in self._pieces(f"MLSD {_text(directory)}"):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                facts, _, name = line.rstrip(b"\r").partition(b" ")
                fact = dict(_fact(part) for part in facts.decode(ENCODING).split(";") if part)
                if not is_name(name):
                    continue
                if (kind := fact.get("type", "").lower()) == "file":
                    yield name, Entry(name, int(fact["size"]), _epoch_s(fact["modify"]))
                elif kind == "dir":
                    yield name, None

    def _names(self, directory: bytes) -> list[bytes]:
        """For servers without MLSD: names, then size and time of each; directories have no size."""
        try:
            names = self.client.nlst(_text(directory))
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND) and self._is_directory(directory):
                return []  # some say 550 of an empty directory
            raise
        if not names and not self._is_directory(directory):
            raise Gone(repr(directory))  # and some say nothing of a missing one
        plain = (name.rpartition("/")[2].encode(ENCODING) for name in names)
        return [name for name in plain if is_name(name)]

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
        return one_by_one(self, files)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        left = size
        with self._foreign(path):
            self.client.voidcmd("TYPE I")
            for piece in self._pieces(f"RETR {_text(path)}"):
                left -= out.write(piece[:left])
        self.traffic.got(size - left)
        return size - left

    def _pieces(self, command: str) -> Iterator[bytes]:
        """What comes on a data line; one that is left early is cut, and the server's word on that heard."""
        pace, whole = Pace(self.timeout_s), False
        line = self.client.transfercmd(command)
        try:
            while not whole:
                began_s = monotonic()
                piece = line.recv(PIECE_BYTES)
                pace.took(monotonic() - began_s, len(piece))
                whole = not piece
                yield piece
            if isinstance(line, ssl.SSLSocket):
                with suppress(OSError):  # many servers do not say goodbye
                    line.unwrap()
        finally:
            line.close()
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
                with suppress(ftplib.error_perm):  # another fetcher may have been quicker
                    self.client.mkd(_text(directory))
                if not self._is_directory(directory):
                    raise Unreachable(f"{directory!r}: cannot be made")

    def write(self, path: bytes, content: bytes) -> None:
        with self._foreign(path):
            self.client.storbinary(f"STOR {_text(path)}", io.BytesIO(content))

    def alive(self) -> bool:
        """A server that ended an idle line has written so, or closed it: nothing is to be read on one in order."""
        line = self.client.sock
        return line is not None and line.fileno() >= 0 and not select.select([line], [], [], 0)[0]

    def check(self) -> None:
        with self._foreign(b"."):
            self.client.voidcmd("NOOP")

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def _foreign(self, path: bytes) -> Iterator[None]:
        """Ftplib's failures in our two words."""
        self.check_owner()
        try:
            yield
        except ftplib.error_perm as error:
            if str(error).startswith(NOT_FOUND):
                raise self._absence(path, str(error)) from error
            raise Denied(f"{path!r}: {error}") from error
        except TimeoutError as error:
            raise Unreachable(f"{path!r}: stalled, no byte for {self.timeout_s:.0f} s") from error
        except (ftplib.Error, OSError, EOFError, ValueError) as error:
            raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error

    @staticmethod
    def _absence(path: bytes, said: str) -> Gone | Denied:
        """550 is said of what is missing and of what is forbidden: only the words tell."""
        forbidden = any(word in said.lower() for word in FORBIDDEN)
        return Denied(f"{path!r}: {said}") if forbidden else Gone(f"{path!r}: {said}")


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
            keep_watch(client.sock, settings.timeout_s)
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
    "ftp": lambda _: ftplib.FTP(),  # noqa: S321 - elements that know nothing else
    "ftps": lambda settings: _Tls(context=_trust(settings)),
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


def _fact(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.lower(), value


def _epoch_s(modified: str) -> int:
    """YYYYMMDDhhmmss[.sss] of RFC 3659, which is UTC."""
    return int(datetime.strptime(modified[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
