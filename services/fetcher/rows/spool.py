"""Holds the texts of a file until it is complete: in memory up to a limit, then in an unnamed temporary file."""

import os
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from shared.errors import Unreachable


class SpoolFile:
    """An append-only temporary file. It can be pickled, but without its descriptor: see `adopt`."""

    def __init__(self, directory: str = "") -> None:
        """Raises Unreachable: no file can be created in the directory."""
        try:
            self.file = cast("BinaryIO", TemporaryFile(buffering=0, dir=directory or None))  # noqa: SIM115 - see `close`
        except OSError as error:
            raise Unreachable(f"cannot spool to disk: {error}") from error
        self.size = 0

    def append(self, text: bytes) -> "SpooledText":
        """Writes a text at the end of the file.

        Raises:
            Unreachable: the text cannot be written.
        """
        spooled = SpooledText(self, self.size, len(text))
        left = memoryview(text)
        try:
            while left:
                left = left[os.pwrite(self.file.fileno(), left, self.size) :]
                self.size = spooled.at + len(text) - len(left)
        except OSError as error:
            raise Unreachable(f"cannot spool to disk: {error}") from error
        return spooled

    def read(self, at: int, size: int) -> bytes:
        """Reads a text back."""
        found = os.pread(self.file.fileno(), size, at)
        while len(found) < size:
            found += os.pread(self.file.fileno(), size - len(found), at + len(found))
        return found

    def adopt(self, descriptor: int) -> None:
        """Continues with a descriptor of the same file that was sent to this process."""
        self.file = os.fdopen(descriptor, "rb", buffering=0)

    def close(self) -> None:
        self.file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size}


@dataclass(frozen=True, slots=True)
class SpooledText:
    """A text on disk."""

    file: SpoolFile
    at: int
    """Offset in the file."""
    size: int


HeldText = bytes | SpooledText
"""A text in memory or on disk."""


def text_of(held: HeldText) -> bytes:
    return held if isinstance(held, bytes) else held.file.read(held.at, held.size)


def size_of(held: HeldText) -> int:
    return len(held) if isinstance(held, bytes) else held.size


class Spool:
    """Takes the texts of one PM file."""

    def __init__(self, memory_bytes: int = 32 << 20, directory: str = "") -> None:
        self.free_bytes = memory_bytes
        self.directory = directory
        self.file: SpoolFile | None = None

    def put(self, text: bytes) -> HeldText:
        """Keeps a text in memory if it still fits there, else on disk.

        Raises:
            Unreachable: the text has to go to disk and cannot be written.
        """
        if len(text) <= self.free_bytes:
            self.free_bytes -= len(text)
            return text
        self.file = self.file or SpoolFile(self.directory)
        return self.file.append(text)

    def release(self, held: HeldText) -> None:
        """Frees the memory of a text that is no longer needed."""
        if isinstance(held, bytes):
            self.free_bytes += len(held)

    def close(self) -> None:
        """Closes the temporary file, if there is one."""
        if self.file:
            self.file.close()
