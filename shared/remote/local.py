"""A local directory as an element, for example one into which another program mirrors the files of elements."""

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shared.errors import Unreachable
from shared.remote.session import Denied, Entry, Gone, Owned, child, read_each, subtrees

LOCAL_READ_BYTES = 1 << 20


class LocalSession(Owned):
    """Implements `session.Session` for a local directory."""

    def entries(self, directory: bytes) -> Iterator[Entry]:
        return (entry for _, entry in self.tree(directory, 0) if isinstance(entry, Entry))

    def tree(
        self, directory: bytes, depth: int, skip: Collection[bytes] = ()
    ) -> Iterator[tuple[bytes, Entry | Denied]]:
        self.traffic.listings += 1
        directories: list[bytes] = []
        with _foreign(directory), os.scandir(directory) as found:
            for entry in found:
                if entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # deleted in the meantime
                        status = entry.stat(follow_symlinks=False)
                        yield directory, Entry(entry.name, status.st_size, int(status.st_mtime))
                elif depth > 0 and entry.name not in skip and entry.is_dir(follow_symlinks=False):
                    directories.append(child(directory, entry.name))
        yield from subtrees(self, directories, depth, skip)

    def read(self, path: bytes, size: int) -> bytes:
        with _foreign(path), Path(os.fsdecode(path)).open("rb") as file:
            content = file.read(size)
        self.traffic.count_file(len(content))
        return content

    def read_all(self, files: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, bytes | Gone | Denied]]:
        return read_each(self, files)

    def read_to(self, path: bytes, size: int, out: BinaryIO) -> int:
        left = size
        with _foreign(path), Path(os.fsdecode(path)).open("rb") as file:
            while chunk := file.read(min(left, LOCAL_READ_BYTES)):
                left -= out.write(chunk)
        self.traffic.count_file(size - left)
        return size - left

    def look(self, path: bytes) -> Entry | None:
        with _foreign(path):
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                return None
            return Entry(path, status.st_size, int(status.st_mtime)) if stat.S_ISREG(status.st_mode) else None

    def move(self, path: bytes, to: bytes) -> None:
        with _foreign(path):
            Path(os.fsdecode(path)).replace(os.fsdecode(to))

    def delete(self, path: bytes) -> None:
        with _foreign(path):
            Path(os.fsdecode(path)).unlink()

    def make_directory(self, directory: bytes) -> None:
        with _foreign(directory):
            Path(os.fsdecode(directory)).mkdir(exist_ok=True)

    def write(self, path: bytes, content: bytes) -> None:
        with _foreign(path):
            Path(os.fsdecode(path)).write_bytes(content)

    def alive(self) -> bool:
        return True

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass


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
        raise Unreachable(f"{path!r}: {error}") from error
