"""The contract between the services and an element, the same for every protocol."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import BinaryIO, Protocol, TypeVar

from shared.errors import Hopeless, Unreachable

Item = TypeVar("Item")
Result = TypeVar("Result")
MORE_IN_MEMORY, MORE_ON_DISK = 1 << 20, 1 << 30
"""Bytes that are read beyond the listed size of a file, which some servers tell too small."""
LONGEST_QUOTE = 300
"""Characters of a server's answer in an error."""
SLOWEST_BYTES_S = 10
"""The lowest rate that is tolerated, measured over one timeout: a slower server only occupies a connection."""


class Gone(Hopeless):
    """The file or directory does not exist."""


class LoginRefused(Unreachable):
    """The host works but rejects our login. Its other elements stay usable, so the breaker does not count it."""


class Denied(Unreachable):
    """The host refuses this file or directory only. The session stays usable for other files."""


class Longer(Denied):
    """The file is so much longer than its listed size that reading it was given up."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file. Names are bytes, so that one name that is not UTF-8 cannot stop a directory."""

    name: bytes
    size: int
    mtime_s: int


@dataclass(frozen=True, slots=True)
class OddEntry:
    """A listed entry that cannot be collected; its reason is one of a few, and counted."""

    name: bytes
    reason: str


@dataclass(slots=True)
class Traffic:
    """Counts of what was transferred over a connection."""

    files: int = 0
    bytes: int = 0
    listings: int = 0
    """Directories listed. Over SFTP a whole tree counts as one listing."""

    def add(self, other: "Traffic") -> None:
        self.files += other.files
        self.bytes += other.bytes
        self.listings += other.listings

    def count_file(self, size: int) -> None:
        """Counts one downloaded file."""
        self.files += 1
        self.bytes += size


class Session(Protocol):
    """A connection to an element, used by one thread at a time.

    Every method blocks, at most the timeout between two responses.
    An iterator must be exhausted or closed before the session is used for anything else.

    Raises (all methods):
        Unreachable: no response, a broken connection, or too slow a server. The session must not be used again.
        Denied: this path is refused. The session stays usable.
        RuntimeError: a thread other than the owner used the session.
    """

    traffic: Traffic

    def own(self) -> None:
        """Makes the calling thread the owner."""

    def entries(self, directory: bytes) -> Iterator[Entry]:
        """Yields the regular files of a directory, without links, in bounded memory.

        Raises:
            Gone: the directory does not exist.
        """

    def tree(
        self, directory: bytes, depth: int, skip: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | OddEntry | Denied]]:
        """Yields the regular files of a directory and its subdirectories, each with the directory that contains it.

        The order is undefined; over SFTP many directories are listed at once. Links, special files, and files about
        which the server tells too little or nonsense are odd entries: nothing but directories is left out.
        A subdirectory that is refused yields the refusal instead of its files. One that vanished is skipped.

        Args:
            directory: the directory to start in.
            depth: number of levels below the directory; 0 lists the directory alone.
            skip: names of subdirectories that are not listed.

        Raises:
            Gone: the directory does not exist.
        """

    def read(self, path: bytes, size: int) -> bytes:
        """Returns a whole file, to its end, whatever size its listing told.

        Args:
            path: the file; a link is refused.
            size: in the listing. More or fewer bytes mean that the file changed, or that the server tells a wrong size.

        Raises:
            Gone: the file does not exist.
            Longer: it has more than MORE_IN_MEMORY bytes beyond its size.
        """

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        """Reads many files, given by path and listed size; yields path and content, or the refusal, as each completes.

        Over SFTP many files are read at once. Together they hold at most `sftp_reads.HELD_BYTES`; a single larger
        file is read alone (`read_to` suits it better). The next item of `files` is requested only when there is room.
        """

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        """Copies a file to `out` like `read`, in bounded memory. Returns the number of bytes written.

        After an error `out` contains a part of the file.

        Raises:
            Gone: the file does not exist.
            Longer: it has more than MORE_ON_DISK bytes beyond its size.
        """

    def look(self, path: bytes) -> Entry | None:
        """Returns the entry of a regular file, or None if there is no such file."""

    def look_all(self, paths: Sequence[bytes]) -> list[Entry | Gone | Denied | None]:
        """Looks at many files; returns for each what `look` returns or raises.

        Over SFTP, this and the other methods for many files take a few round trips, however many files they are. The
        files are independent: a refusal of one does not affect another.
        """

    def move_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Gone | Denied | None]:
        """Renames many files, given by old and new path; returns for each what `move` raises, or None.

        The order is undefined.
        """

    def delete_all(self, paths: Sequence[bytes]) -> list[Gone | Denied | None]:
        """Deletes many files; returns for each what `delete` raises, or None."""

    def make_directories(self, directories: Sequence[bytes]) -> list[Gone | Denied | None]:
        """Creates directories unless they exist, parents before what they contain.

        Returns for each why it cannot be created, or None. A session may remember the directories that it has seen
        until a move or a write is refused.
        """

    def move(self, path: bytes, to: bytes) -> None:
        """Renames a file.

        Raises:
            Gone: the file does not exist.
            Denied: the file exists, but the server does not rename it.
        """

    def delete(self, path: bytes) -> None:
        """Deletes a file.

        Raises:
            Gone: the file does not exist.
            Denied: the file exists, but the server does not delete it.
        """

    def make_directory(self, directory: bytes) -> None:
        """Creates a directory unless it exists."""

    def write(self, path: bytes, content: bytes) -> None:
        """Writes a small file in one step."""

    def alive(self) -> bool:
        """Tells whether the connection appears to be open, without network traffic."""

    def check(self) -> None:
        """Sends a request to the host to test the connection."""

    def close(self) -> None:
        """Closes the connection. Never raises."""

    def abort(self) -> None:
        """Breaks the connection, from any thread: a call under way raises Unreachable. Never raises."""


class SingleFiles(Protocol):
    """The operations of a session on one file."""

    def look(self, path: bytes) -> Entry | None: ...
    def move(self, path: bytes, to: bytes) -> None: ...
    def delete(self, path: bytes) -> None: ...
    def make_directory(self, directory: bytes) -> None: ...


class FileByFile:
    """The operations on many files, for protocols that carry out one command at a time."""

    def look_all(self: SingleFiles, paths: Sequence[bytes]) -> list[Entry | Gone | Denied | None]:
        return _each(self.look, paths)

    def move_all(self: SingleFiles, pairs: Sequence[tuple[bytes, bytes]]) -> list[Gone | Denied | None]:
        return _each(lambda pair: self.move(*pair), pairs)

    def delete_all(self: SingleFiles, paths: Sequence[bytes]) -> list[Gone | Denied | None]:
        return _each(self.delete, paths)

    def make_directories(self: SingleFiles, directories: Sequence[bytes]) -> list[Gone | Denied | None]:
        return _each(self.make_directory, directories)


def _each(operation: Callable[[Item], Result], items: Iterable[Item]) -> list[Result | Gone | Denied]:
    """Returns what the operation returns for each item, or its refusal."""
    outcomes: list[Result | Gone | Denied] = []
    for item in items:
        try:
            outcomes.append(operation(item))
        except (Gone, Denied) as refused:
            outcomes.append(refused)
    return outcomes


class Owned:
    """A session that only its owner thread may use: two threads on one channel take each other's responses and hang."""

    def __init__(self) -> None:
        self.owner = get_ident()
        self.traffic = Traffic()

    def own(self) -> None:
        self.owner = get_ident()

    def check_owner(self) -> None:
        if get_ident() != self.owner:
            raise RuntimeError("a session has one owner thread: take another session from FtpServiceManager")


def unexpected(path: object, error: Exception) -> Unreachable:
    """Returns the error for an answer, or a failure of a client library, that nobody planned for."""
    return Unreachable(f"{path!r}: unexpected response: {type(error).__name__} {str(error)[:LONGEST_QUOTE]}")


@dataclass
class MinimumRate:
    """Detects a server that sends too slowly. Only time spent waiting for data counts."""

    timeout_s: float
    waited_s: float = 0.0
    received: int = 0

    def count(self, waited_s: float, received: int) -> None:
        """Counts one chunk.

        Raises:
            Unreachable: too few bytes arrived during a whole timeout.
        """
        self.waited_s += waited_s
        self.received += received
        if self.waited_s < self.timeout_s:
            return
        if self.received < SLOWEST_BYTES_S * self.waited_s:
            raise Unreachable(
                f"the server sends too slowly: {self.received} bytes in {self.waited_s:.0f} s, "
                f"at least {SLOWEST_BYTES_S} bytes/s expected"
            )
        self.waited_s, self.received = 0.0, 0


def is_plain_name(name: bytes) -> bool:
    """Tells whether a listed name denotes an entry of its directory: not empty, `.`, `..` or a path."""
    return name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name


def child(directory: bytes, name: bytes) -> bytes:
    """Returns the path of an entry of a directory."""
    return directory.rstrip(b"/") + b"/" + name


def read_each(session: Session, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
    """Implements `Session.read_all` for protocols that transfer one file at a time."""
    for path, size in files:
        try:
            content: bytes | Gone | Denied = session.read(path, size)
        except (Gone, Denied) as refused:
            content = refused
        yield path, content


def raised(outcome: Result | Gone | Denied) -> Result:
    """Returns the outcome of one file; raises its refusal."""
    if isinstance(outcome, Gone | Denied):
        raise outcome
    return outcome


def subtrees(
    session: Session, directories: Iterable[bytes], depth: int, skip: Collection[bytes]
) -> Iterator[tuple[bytes, Entry | OddEntry | Denied]]:
    """Implements `Session.tree` for the given subdirectories, one by one; `depth` is that of their parent directory."""
    for directory in directories:
        try:
            yield from session.tree(directory, depth - 1, skip)
        except Gone:
            continue
        except Denied as refused:
            yield directory, refused
