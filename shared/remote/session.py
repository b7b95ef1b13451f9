"""What the scanner and the fetcher need of an element, whatever its protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from shared.errors import Hopeless, Unreachable


class Gone(Hopeless):
    """The file or directory is not there."""


class LoginRefused(Unreachable):
    """The host is well but does not let us in: no reason to leave its other elements alone."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file. Names are bytes: one that is not UTF-8 must not stop a directory."""

    name: bytes
    size: int
    mtime_s: int


class Session(Protocol):
    """A line to an element, with one owner. Every method blocks, at most the timeout between two answers.

    Raises (all methods):
        Unreachable: no answer, a cut line, or a refusal that may pass; the session is not used again.
    """

    def entries(self, directory: bytes) -> Iterator[Entry]:
        """The regular files of a directory, links left out; in bounded memory.

        Raises:
            Gone: no such directory.
        """

    def read(self, path: bytes, size: int) -> bytes:
        """A whole file, at most of the size the listing told; shorter when it shrank.

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

    def make_directory(self, directory: bytes) -> None:
        """Make it unless it is there."""

    def write(self, path: bytes, content: bytes) -> None:
        """A small file, whole."""

    def alive(self) -> bool:
        """Whether the line seems to be up; asks nobody."""

    def close(self) -> None:
        """End the line; never raises."""
