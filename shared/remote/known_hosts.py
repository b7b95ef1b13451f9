"""Reads the host keys of one host from a known-hosts file. A damaged line costs that line, not the other hosts."""

import binascii
import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

log = logging.getLogger(__name__)


def known_keys(name: str, file: str) -> list[paramiko.PKey]:
    """Returns the keys that a file holds for a host.

    Args:
        name: the host; with another port than 22 as `[host]:port`.
        file: in the form of OpenSSH, with plain or hashed names.

    Raises:
        OSError: the file cannot be read.
    """
    keys = []
    for number, line in _lines(file):
        try:
            if (key := _key(line, name)) is not None:
                keys.append(key)
        except Exception as error:  # noqa: BLE001 - a damaged key raises whatever it meets
            _warn(file, number, f"{type(error).__name__}: {error}"[:200])
    return keys


def _lines(file: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(Path(file).read_bytes().splitlines(), 1):
        line = raw.decode("latin-1").strip()
        if line and not line.startswith(("#", "@")):  # markers are for keys that are revoked or sign others
            yield number, line


def _key(line: str, name: str) -> paramiko.PKey | None:
    """Returns the key of a line if it is one of this host.

    Raises:
        Exception: the line is damaged.
    """
    names, kind, encoded, *_ = (*line.split(None, 3), "", "")
    if not encoded:
        raise ValueError("three fields expected: names, key type and key")
    if not binascii.a2b_base64(encoded, strict_mode=True):
        raise ValueError("the key is empty")
    if not any(_is_name(known, name) for known in names.split(",")):
        return None
    entry = HostKeyEntry.from_line(f"{names} {kind} {encoded}")
    return None if entry is None else entry.key


def _is_name(known: str, name: str) -> bool:
    return known == name or (known.startswith("|1|") and paramiko.HostKeys.hash_host(name, known) == known)


@lru_cache(maxsize=1000)
def _warn(file: str, number: int, reason: str) -> None:
    """Logs once for each damaged line: the file is read at each connection."""
    log.warning("known-hosts line skipped", extra={"file_name": file, "line": number, "reason": reason})
