"""A local directory as an element, for example one into which another program mirrors the files of elements."""

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from shared.errors import Unreachable
from shared.remote.listing import NOT_REGULAR, ListingBudget, ListingLimits, entry_of
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
)

LOCAL_READ_BYTES = 1 << 20


class LocalSession(FileByFile, Owned):
    """Implements `session.Session` for a local directory."""

    def __init__(
        self,
        roots: Iterable[bytes] = (),
        limits: ListingLimits = ListingLimits(),  # noqa: B008 - frozen
    ) -> None:
        """Creates a session.

        Args:
            roots: directories of the configuration. Links are followed on the way to them, but never below them.
            limits: of a listing.
        """
        super().__init__()
        self.roots = {root.rstrip(b"/") for root in roots}
        self.limits = limits

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, skip: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | OddEntry | Denied]]:
        self.traffic.listings += 1
        if self._root_of(directory) is None:
            self.roots.add(directory.rstrip(b"/"))
        directories: list[bytes] = []
        budget = ListingBudget(self.limits)
        with _foreign(directory), self._opened_directory(directory) as number, os.scandir(number) as found:
            for entry in found:
                budget.spend(entries=1)
                if not entry.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # deleted in the meantime
                        yield directory, _entry(entry)
                elif depth > 0 and os.fsencode(entry.name) not in skip:
                    directories.append(child(directory, os.fsencode(entry.name)))
        yield from subtrees(self, directories, depth, skip)

    def read(self, path: bytes, size: int) -> bytes:
        out = BytesIO()
        self._copy(path, size + MORE_IN_MEMORY, out)
        return out.getvalue()

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        return read_each(self, files)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        return self._copy(path, size + MORE_ON_DISK, out)

    def _copy(self, path: bytes, most: int, out: BinaryIO) -> int:
        taken = 0
        with _foreign(path), self._opened(path) as file:
            while chunk := file.read(LOCAL_READ_BYTES):
                taken += len(chunk)
                if taken > most:
                    raise Longer(f"{path!r}: longer than {most} bytes, far more than it was listed with")
                out.write(chunk)
        self.traffic.count_file(taken)
        return taken

    def look(self, path: bytes) -> Entry | None:
        with _foreign(path):
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                return None
            return Entry(path, status.st_size, int(status.st_mtime)) if stat.S_ISREG(status.st_mode) else None

    def move(self, path: bytes, to: bytes) -> None:
        with _foreign(path):
            try:
                Path(os.fsdecode(path)).replace(os.fsdecode(to))
            except FileNotFoundError as error:
                if os.path.lexists(path):  # then what is missing is the directory to move to
                    raise Denied(f"{path!r}: cannot be moved to {to!r}: {error}") from error
                raise

    def delete(self, path: bytes) -> None:
        with _foreign(path):
            Path(os.fsdecode(path)).unlink()

    def make_directory(self, directory: bytes) -> None:
        with _foreign(directory):
            Path(os.fsdecode(directory)).mkdir(exist_ok=True)

    def write(self, path: bytes, content: bytes) -> None:
        with _foreign(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
                file.write(content)

    def alive(self) -> bool:
        return True

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def _root_of(self, path: bytes) -> bytes | None:
        """Returns the longest root that contains a path."""
        roots = [root for root in self.roots if path.rstrip(b"/") == root or path.startswith(root + b"/")]
        return max(roots, key=len, default=None)

    @contextmanager
    def _opened_directory(self, directory: bytes) -> Iterator[int]:
        """Opens a directory without following any link below its root."""
        root = self._root_of(directory)
        below = b"" if root is None else directory[len(root) :].strip(b"/")
        with ExitStack() as stack:
            number = os.open((directory if root is None else root) or b"/", os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, number)
            for part in filter(None, below.split(b"/")):
                number = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=number)
                stack.callback(os.close, number)
            yield number

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[BinaryIO]:
        """Opens a regular file only: a link or a pipe may have taken the place of what was listed."""
        directory, _, name = path.rpartition(b"/")
        with self._opened_directory(directory or b"/") as number:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(name, flags, dir_fd=number), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Denied(f"{path!r}: not a regular file any more")
                yield file


def _entry(entry: os.DirEntry[str]) -> Entry | OddEntry:
    name = os.fsencode(entry.name)
    if not entry.is_file(follow_symlinks=False):
        return OddEntry(name, NOT_REGULAR)
    status = entry.stat(follow_symlinks=False)
    return entry_of(name, status.st_size, int(status.st_mtime))


@contextmanager
def _foreign(path: bytes) -> Iterator[None]:
    """Translates errors of the operating system into Gone, Denied and Unreachable."""
    try:
        yield
    except FileNotFoundError as error:
        raise Gone(repr(path)) from error
    except (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise Denied(f"{path!r}: {error}") from error
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}:
            raise Denied(f"{path!r}: {error}") from error
        raise Unreachable(f"{path!r}: {error}") from error
    except (ValueError, ArithmeticError) as error:  # a zero byte in the path, a time no clock can have
        raise Denied(f"{path!r}: {error}") from error
