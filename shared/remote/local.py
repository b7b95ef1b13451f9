"""A directory of this machine as an element: where another program mirrors the elements' files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Unreachable
from shared.remote.session import Entry, Gone


class LocalSession:
    """See `session.Session`."""

    def entries(self, directory: bytes) -> Iterator[Entry]:
        with _foreign(directory), os.scandir(directory) as found:
            for entry in found:
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield Entry(entry.name, status.st_size, int(status.st_mtime))

    def read(self, path: bytes, size: int) -> bytes:
        with _foreign(path), Path(os.fsdecode(path)).open("rb") as file:
            return file.read(size)

    def look(self, path: bytes) -> Entry | None:
        with _foreign(path):
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                return None
            return Entry(path, status.st_size, int(status.st_mtime))

    def move(self, path: bytes, to: bytes) -> None:
        with _foreign(path):
            Path(os.fsdecode(path)).replace(os.fsdecode(to))

    def make_directory(self, directory: bytes) -> None:
        with _foreign(directory):
            Path(os.fsdecode(directory)).mkdir(exist_ok=True)

    def write(self, path: bytes, content: bytes) -> None:
        with _foreign(path):
            Path(os.fsdecode(path)).write_bytes(content)

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


@contextmanager
def _foreign(path: bytes) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Gone(repr(path)) from error
    except OSError as error:
        raise Unreachable(f"{path!r}: {error}") from error
