"""Texts held until their file is whole: in memory up to a limit, beyond it in a temporary file without a name."""

import os
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from shared.errors import Unreachable


class SpoolFile:
    """Grows only; what was put is read by its place. Passes to another process without its descriptor, see `adopt`."""

    def __init__(self, directory: str = "") -> None:
        """Raises Unreachable: the directory takes no file."""
        try:
            self.file = cast("BinaryIO", TemporaryFile(buffering=0, dir=directory or None))  # noqa: SIM115 - see `close`
        except OSError as error:
            raise Unreachable(f"not to be spooled to disk: {error}") from error
        self.size = 0

    def append(self, text: bytes) -> "Place":
        """Raises Unreachable: the disk takes no more."""
        place = Place(self, self.size, len(text))
        left = memoryview(text)
        try:
            while left:
                left = left[os.pwrite(self.file.fileno(), left, self.size) :]
                self.size = place.at + len(text) - len(left)
        except OSError as error:
            raise Unreachable(f"not to be spooled to disk: {error}") from error
        return place

    def read(self, at: int, size: int) -> bytes:
        found = os.pread(self.file.fileno(), size, at)
        while len(found) < size:
            found += os.pread(self.file.fileno(), size - len(found), at + len(found))
        return found

    def adopt(self, descriptor: int) -> None:
        """The same file, opened in this process."""
        self.file = os.fdopen(descriptor, "rb", buffering=0)

    def close(self) -> None:
        self.file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text lies."""

    file: SpoolFile
    at: int
    size: int


Text = bytes | Place
"""Wherever it is held."""


def text_of(held: Text) -> bytes:
    return held if isinstance(held, bytes) else held.file.read(held.at, held.size)


def size_of(held: Text) -> int:
    return len(held) if isinstance(held, bytes) else held.size


class Spool:
    """Where the texts of one file are put."""

    def __init__(self, memory_bytes: int = 32 << 20, directory: str = "") -> None:
        self.room = memory_bytes
        self.directory = directory
        self.file: SpoolFile | None = None

    def put(self, text: bytes) -> Text:
        """Raises Unreachable: it should go to disk and cannot."""
        if len(text) <= self.room:
            self.room -= len(text)
            return text
        self.file = self.file or SpoolFile(self.directory)
        return self.file.append(text)

    def let_go(self, held: Text) -> None:
        """Nobody needs it any more: its memory is free for others."""
        if isinstance(held, bytes):
            self.room += len(held)

    def close(self) -> None:
        """Nobody needs any of it."""
        if self.file:
            self.file.close()
