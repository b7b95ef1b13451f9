"""Keeps what was parsed from files until their content changes, for all threads of a process."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")
COMPARE_AFTER_S = 5.0
"""Longest time for which a change of a file stays unnoticed where it is looked up often."""


@dataclass(frozen=True, slots=True)
class _Snapshot(Generic[T]):
    digest: bytes
    parsed: T
    read_s: float
    """The last time at which the file had this content."""


class FileSnapshots(Generic[T]):
    """The parsed content of files: each is parsed once for each content, whoever asks.

    Contents are compared, not modification times: a file system with coarse times hides a change. A snapshot that is
    recent enough is returned without a lock.
    """

    def __init__(self, parse: Callable[[Path, bytes], T], now_s: Callable[[], float] = monotonic) -> None:
        """Creates an empty store.

        Args:
            parse: returns an immutable object; must not raise.
            now_s: the clock.
        """
        self.parse = parse
        self.now_s = now_s
        self.lock = Lock()
        self.kept: dict[Path, _Snapshot[T]] = {}

    def current(self, file: Path, max_age_s: float = 0.0) -> T:
        """Returns the parsed content of a file.

        Args:
            file: the file.
            max_age_s: a snapshot that was compared with the file within this time is returned without reading it.

        Raises:
            OSError: the file cannot be read.
        """
        kept, began_s = self.kept.get(file), self.now_s()
        if kept is not None and began_s - kept.read_s < max_age_s:
            return kept.parsed
        content = file.read_bytes()
        digest = blake2b(content, digest_size=16).digest()
        with self.lock:
            kept = self.kept.get(file)
            if kept is None or kept.digest != digest:
                if kept is not None and kept.read_s > began_s:
                    return kept.parsed  # another thread has read a later content
                kept = _Snapshot(digest, self.parse(file, content), began_s)
            self.kept[file] = _Snapshot(digest, kept.parsed, max(kept.read_s, began_s))
            return kept.parsed
