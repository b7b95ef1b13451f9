"""Finds the host keys of one host in a known-hosts file. A damaged line costs that line, not the other hosts."""

import binascii
import hmac
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

from shared.configuration.file_snapshots import COMPARE_AFTER_S, FileSnapshots

log = logging.getLogger(__name__)
HASHED = "|1|"
NumberedLine = tuple[int, str]
"""A line, or its key type and key, with its number."""


def known_keys(name: str, file: str, max_age_s: float = COMPARE_AFTER_S) -> Sequence[paramiko.PKey]:
    """Returns the keys that a file holds for a host.

    Args:
        name: the host; with another port than 22 as `[host]:port`.
        file: in the form of OpenSSH, with plain or hashed names.
        max_age_s: a change of the file may stay unnoticed for this time.

    Raises:
        OSError: the file cannot be read.
    """
    return _SNAPSHOTS.current(Path(file), max_age_s).keys(name)


class _KnownHosts:
    """The lines of a file, indexed by name. The keys of a host are decoded when they are first asked for."""

    def __init__(self, file: Path, content: bytes) -> None:
        self.file = file
        self.plain: dict[str, list[NumberedLine]] = defaultdict(list)
        self.hashed: list[tuple[bytes, bytes, NumberedLine]] = []
        """Salt and digest of a hashed name, with its line."""
        self.found: dict[str, Sequence[paramiko.PKey]] = {}
        for number, line in _lines(content):
            try:
                self._index(number, line)
            except ValueError as error:
                self._skip(number, error)

    def _index(self, number: int, line: str) -> None:
        names, kind, encoded, *_ = (*line.split(None, 3), "", "")
        if not encoded:
            raise ValueError("three fields expected: names, key type and key")
        if not binascii.a2b_base64(encoded, strict_mode=True):
            raise ValueError("the key is empty")
        key = number, f"{kind} {encoded}"
        hashes = [_salt_and_digest(name) for name in names.split(",") if name.startswith(HASHED)]
        self.hashed += [(*both, key) for both in hashes]
        for name in names.split(","):
            if not name.startswith(HASHED):
                self.plain[name].append(key)

    def keys(self, name: str) -> Sequence[paramiko.PKey]:
        """Returns the keys of a host; thread-safe."""
        if name not in self.found:
            lines = dict(self._lines_of(name))
            self.found[name] = tuple(key for number in sorted(lines) for key in self._key(number, lines[number]))
        return self.found[name]

    def _lines_of(self, name: str) -> Iterator[NumberedLine]:
        yield from self.plain.get(name, ())
        for salt, digest, line in self.hashed:
            if hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest):
                yield line

    def _key(self, number: int, line: str) -> Iterator[paramiko.PKey]:
        try:
            entry = HostKeyEntry.from_line(f"host {line}")
        except Exception as error:  # noqa: BLE001 - a damaged key raises whatever it meets
            self._skip(number, error)
            return
        if entry is not None and entry.key is not None:
            yield entry.key

    def _skip(self, number: int, error: Exception) -> None:
        _warn(self.file, number, f"{type(error).__name__}: {error}"[:200])


_SNAPSHOTS = FileSnapshots(_KnownHosts)


def _lines(content: bytes) -> Iterator[NumberedLine]:
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.decode("latin-1").strip()
        if line and not line.startswith(("#", "@")):  # markers are for keys that are revoked or sign others
            yield number, line


def _salt_and_digest(name: str) -> tuple[bytes, bytes]:
    salt, _, digest = name.removeprefix(HASHED).partition("|")
    if not salt or not digest:
        raise ValueError("a hashed name must have a salt and a digest")
    return binascii.a2b_base64(salt, strict_mode=True), binascii.a2b_base64(digest, strict_mode=True)


@lru_cache(maxsize=1000)
def _warn(file: Path, number: int, reason: str) -> None:
    """Logs once for each damaged line, however often the file changes."""
    log.warning("known-hosts line skipped", extra={"file_name": str(file), "line": number, "reason": reason})
