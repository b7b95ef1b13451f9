"""Sessions over FTP and explicit or implicit FTPS, for servers of many kinds."""

import ftplib
import io
import select
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, tzinfo
from typing import BinaryIO

from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote.ftp_client import argument, connected_client, data_chunks
from shared.remote.ftp_listing import FORBIDDEN, FtpListing
from shared.remote.listing import ListingLimits
from shared.remote.session import (
    MORE_IN_MEMORY,
    MORE_ON_DISK,
    Denied,
    Entry,
    FileByFile,
    Gone,
    Longer,
    OddEntry,
    Owned,
    child,
    read_each,
    subtrees,
    unexpected,
)
from shared.settings import Remote

NOT_FOUND = "550"
OF_THE_PATH = ("450", "451", "452")
"""Temporary refusals that concern one file or directory; others, such as 421, concern the connection."""
SAYS_MISSING = ("no such", "not found", "not exist", "cannot find")


class FtpSession(FileByFile, Owned):
    """Implements `session.Session` over FTP."""

    def __init__(
        self,
        client: ftplib.FTP,
        timeout_s: float,
        zone: tzinfo = UTC,
        limits: ListingLimits = ListingLimits(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.client = client
        self.timeout_s = timeout_s
        self.listing = FtpListing(client, timeout_s, zone, limits)

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, skip: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | OddEntry | Denied]]:
        self.traffic.listings += 1
        directories: list[bytes] = []
        with self._foreign(directory):
            for name, entry in self.listing.directory(directory):
                if entry is not None:
                    yield directory, entry
                elif depth > 0 and name not in skip:
                    directories.append(child(directory, name))
        yield from subtrees(self, directories, depth, skip)

    def read(self, path: bytes, size: int) -> bytes:
        out = io.BytesIO()
        self._copy(path, size + MORE_IN_MEMORY, out)
        return out.getvalue()

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        return read_each(self, files)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        return self._copy(path, size + MORE_ON_DISK, out)

    def _copy(self, path: bytes, most: int, out: BinaryIO) -> int:
        taken = 0
        with self._foreign(path):
            self.listing.set_type("I")
            with closing(data_chunks(self.client, f"RETR {argument(path)}", self.timeout_s)) as chunks:
                for chunk in chunks:
                    taken += len(chunk)
                    if taken > most:
                        raise Longer(f"{path!r}: longer than {most} bytes, far more than it was listed with")
                    out.write(chunk)
        self.traffic.count_file(taken)
        return taken

    def look(self, path: bytes) -> Entry | None:
        with self._foreign(path):
            return self.listing.look(path)

    def move(self, path: bytes, to: bytes) -> None:
        with self._foreign(path, trust_missing=False):  # it may be the directory to move to that is missing
            self.client.rename(argument(path), argument(to))

    def delete(self, path: bytes) -> None:
        with self._foreign(path):
            self.client.delete(argument(path))

    def make_directory(self, directory: bytes) -> None:
        with self._foreign(directory):
            if not self.listing.is_directory(directory):
                refused = "the server accepted the command"
                try:
                    self.client.mkd(argument(directory))
                except ftplib.error_perm as error:  # another fetcher may have created it in the meantime
                    refused = str(error)
                if not self.listing.is_directory(directory):
                    raise Denied(
                        f"{directory!r}: cannot create the directory; check the login's write permission ({refused})"
                    )

    def write(self, path: bytes, content: bytes) -> None:
        with self._foreign(path):
            self.listing.set_type("I")
            self.client.storbinary(f"STOR {argument(path)}", io.BytesIO(content))

    def alive(self) -> bool:
        """Tells whether the idle connection is open. It is readable after the server has closed it or sent a reply."""
        control = self.client.sock
        number = -1 if control is None else control.fileno()
        if number < 0:
            return False
        readable = select.poll()  # select.select refuses file descriptors from 1024 on
        readable.register(number, select.POLLIN)
        return not readable.poll(0)

    def check(self) -> None:
        with self._foreign(b"."):
            self.client.voidcmd("NOOP")

    def close(self) -> None:
        self.client.close()

    def abort(self) -> None:
        if (control := self.client.sock) is not None:
            with suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _foreign(self, path: bytes, *, trust_missing: bool = True) -> Iterator[None]:
        """Translates whatever a server's answer raises into Gone, Denied and Unreachable."""
        self.check_owner()
        try:
            yield
        except (Unreachable, Hopeless):
            raise
        except ftplib.error_perm as error:
            raise self._refusal(path, str(error), trust_missing=trust_missing) from error
        except ftplib.error_temp as error:
            if str(error).startswith(OF_THE_PATH):
                raise Denied(f"{path!r}: {error}") from error
            raise Unreachable(f"{path!r}: {error}") from error
        except TimeoutError as error:
            raise Unreachable(f"{path!r}: timed out, no data for {self.timeout_s:.0f} s") from error
        except (ftplib.Error, OSError, EOFError, ValueError) as error:
            raise Unreachable(f"{path!r}: {type(error).__name__} {error}") from error
        except Exception as error:
            raise unexpected(path, error) from error

    def _refusal(self, path: bytes, reply: str, *, trust_missing: bool) -> Gone | Denied:
        """Interprets a reply; 550 stands for missing and for forbidden files, and a look tells which."""
        what = f"{path!r}: {reply}"
        if not reply.startswith(NOT_FOUND) or any(word in reply.lower() for word in FORBIDDEN):
            return Denied(what)
        if trust_missing and any(word in reply.lower() for word in SAYS_MISSING):
            return Gone(what)
        return Denied(what) if self._exists(path) else Gone(what)

    def _exists(self, path: bytes) -> bool:
        with self._foreign(path):
            try:
                return self.listing.look(path) is not None or self.listing.is_directory(path)
            except ftplib.error_perm:
                return True  # nobody can tell: what was refused is not taken for done


def connect_ftp(endpoint: Endpoint, settings: Remote) -> FtpSession:
    """Connects and logs in.

    Raises:
        Unreachable: no connection, or the certificate cannot be verified.
        LoginRefused: the server rejected the login.
    """
    return FtpSession(connected_client(endpoint, settings), settings.timeout_s, endpoint.zone)
