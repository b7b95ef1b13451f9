"""What the scanner and the fetcher need of an element, whatever its protocol."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from threading import get_ident
from typing import BinaryIO, Protocol

from shared.errors import Hopeless, Unreachable

SLOWEST_BYTES_S = 10
"""A server that sends less, over a whole timeout of waiting, only keeps a place occupied."""


class Gone(Hopeless):
    """The file or directory is not there."""


class LoginRefused(Unreachable):
    """The host is well but does not let us in: no reason to leave its other elements alone."""


class Denied(Unreachable):
    """The host answers, but refuses this file or directory: the session goes on, other files may do better."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file. Names are bytes: one that is not UTF-8 must not stop a directory."""

    name: bytes
    size: int
    mtime_s: int


@dataclass(slots=True)
class Traffic:
    """What went over a line."""

    files: int = 0
    bytes: int = 0
    listings: int = 0
    """Over SFTP a tree is one."""

    def add(self, other: "Traffic") -> None:
        self.files += other.files
        self.bytes += other.bytes
        self.listings += other.listings

    def got(self, size: int) -> None:
        """A file."""
        self.files += 1
        self.bytes += size


class Session(Protocol):
    """A line to an element, with one owner. Every method blocks, at most the timeout between two answers.

    An iterator is used up, or closed, before the session is asked anything else.

    Raises (all methods):
        Unreachable: no answer, a cut line, a server that drips; the session is not used again.
        Denied: of this path alone; the session goes on.
        RuntimeError: another thread than the owner uses it.
    """

    traffic: Traffic

    def own(self) -> None:
        """The calling thread is the owner from now on."""

    def entries(self, directory: bytes) -> Iterator[Entry]:
        """The regular files of a directory, links left out; in bounded memory.

        Raises:
            Gone: no such directory.
        """

    def tree(
        self, directory: bytes, depth: int, leave: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | Denied]]:
        """The regular files of a directory and of those below it, each with the directory it lies in.

        In no order, and over SFTP from many directories at once; links and odd types are never followed.
        What a directory below refuses is told in place of its files; one that vanished is passed over.

        Args:
            directory: where to begin.
            directory: where to begin.
            depth: levels below the directory; 0: it alone.
            leave: names of directories below that are not looked into.

        Raises:
            Gone: no such directory.
        """

    def read(self, path: bytes, size: int) -> bytes:
        """A whole file, at most of the size the listing told; shorter when it shrank.

        Raises:
            Gone: no such file.
        """

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        """Many files, path and size as listed -> path and content, or why there is none; in order of completion.

        Over SFTP many are under way at once, of at most `sftp.HELD_BYTES` together, or one that is larger: for those
        there is `read_to`. `files` is asked for the next one only when there is room for it.
        """

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        """As `read`, in bounded memory; returns the bytes written. After an error `out` has a part of the file.

        Raises:
            Gone: no such file.
        """

    def look(self, path: bytes) -> Entry | None:
        """The regular file's entry, or None when there is none."""

    def move(self, path: bytes, to: bytes) -> None:
        """Rename.

        Raises:
            Gone: no such file.
        """

    def delete(self, path: bytes) -> None:
        """Remove a file.

        Raises:
            Gone: no such file.
        """

    def make_directory(self, directory: bytes) -> None:
        """Make it unless it is there."""

    def write(self, path: bytes, content: bytes) -> None:
        """A small file, whole."""

    def alive(self) -> bool:
        """Whether the line seems to be up; asks nobody."""

    def check(self) -> None:
        """Ask the host for a sign of life."""

    def close(self) -> None:
        """End the line; never raises."""


class Owned:
    """One thread at a time: two that share a channel steal each other's answers and hang."""

    def __init__(self) -> None:
        self.owner = get_ident()
        self.traffic = Traffic()

    def own(self) -> None:
        self.owner = get_ident()

    def check_owner(self) -> None:
        if get_ident() != self.owner:
            raise RuntimeError("a session has one owner; take one of your own from FtpServiceManager")


@dataclass
class Pace:
    """Whether what comes is worth waiting for; only time spent waiting counts."""

    timeout_s: float
    waited_s: float = 0.0
    got: int = 0

    def took(self, waited_s: float, got: int) -> None:
        """Count a piece.

        Raises:
            Unreachable: too few bytes over a whole timeout.
        """
        self.waited_s += waited_s
        self.got += got
        if self.waited_s < self.timeout_s:
            return
        if self.got < SLOWEST_BYTES_S * self.waited_s:
            raise Unreachable(f"{self.got} bytes in {self.waited_s:.0f} s: the server only drips")
        self.waited_s, self.got = 0.0, 0


def is_name(name: bytes) -> bool:
    """Whether a listed name stays in its directory: not `.`, `..`, empty, or a path."""
    return name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name


def child(directory: bytes, name: bytes) -> bytes:
    """The path of a directory's entry."""
    return directory.rstrip(b"/") + b"/" + name


def one_by_one(session: Session, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
    """`Session.read_all` where nothing can be had at once."""
    for path, size in files:
        try:
            content: bytes | Gone | Denied = session.read(path, size)
        except (Gone, Denied) as refused:
            content = refused
        yield path, content


def below(
    session: Session, directories: Iterable[bytes], depth: int, leave: Collection[bytes]
) -> Iterator[tuple[bytes, Entry | Denied]]:
    """`Session.tree` of the directories found in one, each after the other; `depth` is that of the one they lie in."""
    for directory in directories:
        try:
            yield from session.tree(directory, depth - 1, leave)
        except Gone:
            continue
        except Denied as refused:
            yield directory, refused
