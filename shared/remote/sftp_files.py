"""Looks at, moves and deletes many files on one SFTP channel, in a few round trips however many they are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from shared.remote import sftp_requests as sftp
from shared.remote.listing import listed
from shared.remote.listing_lines import Line
from shared.remote.session import Denied, Entry, Gone
from shared.remote.sftp_reads import path_refusal
from shared.remote.sftp_requests import Request, Requests, Response, refusal, text

POSIX_RENAME = text(b"posix-rename@openssh.com")
KNOWN_DIRECTORIES = 100
"""Most directories that a session remembers: some elements have a new one every hour."""


@dataclass
class FileCommands:
    """The commands that change or look at files by their path. Each file has an outcome of its own."""

    requests: Requests
    entries: Callable[[bytes], Iterator[Entry]]
    """Lists a directory."""
    known_directories: set[bytes] = field(default_factory=set)
    """Directories that were there when they were last needed."""

    def look(self, paths: Sequence[bytes]) -> list[Entry | Gone | Denied | None]:
        responses = self._call_each(sftp.LSTAT, paths)
        unclear = [path for path, response in zip(paths, responses, strict=True) if _is_unclear(path, response)]
        in_parent = self._in_parents(unclear) if unclear else {}
        return [
            in_parent[path] if path in in_parent else _seen(path, response)
            for path, response in zip(paths, responses, strict=True)
        ]

    def _in_parents(self, paths: Sequence[bytes]) -> dict[bytes, Entry | Gone | Denied | None]:
        """Finds files in the listings of their directories, which tell more than LSTAT on some servers."""
        found: dict[bytes, Entry | Gone | Denied | None] = dict.fromkeys(paths)
        for parent, group in groupby(sorted(set(paths), key=_parent), key=_parent):
            names = {path.rpartition(b"/")[2]: path for path in group}
            try:
                found |= self._listed(parent, names)
            except Denied as refused:
                found |= dict.fromkeys(names.values(), refused)
        return found

    def _listed(self, parent: bytes, names: dict[bytes, bytes]) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        listing: Any = self.entries(parent or b"/")
        with suppress(Gone), closing(listing):
            for entry in listing:
                if entry.name in names:
                    path = names[entry.name]
                    found[path] = replace(entry, name=path)
                    if len(found) == len(names):
                        break
        return found

    def move(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Gone | Denied | None]:
        """Renames files, by posix-rename where the server supports it: RENAME of SFTP does not replace a file."""
        responses = self.requests.call_all([(sftp.EXTENDED, POSIX_RENAME, *_texts(pair)) for pair in pairs])
        expected = {sftp.OK, sftp.NO_SUCH_FILE, sftp.PERMISSION_DENIED}
        odd = [n for n, response in enumerate(responses) if response.code not in expected]
        plain = self.requests.call_all([(sftp.RENAME, *_texts(pairs[n])) for n in odd])
        for n, response in zip(odd, plain, strict=True):
            responses[n] = response
        refused = [_refusal(path, response) for (path, _), response in zip(pairs, responses, strict=True)]
        if any(refused):
            self.known_directories.clear()
        gone = [n for n, why in enumerate(refused) if isinstance(why, Gone)]
        for n, response in zip(gone, self._call_each(sftp.LSTAT, [pairs[n][0] for n in gone]), strict=True):
            if response.kind == sftp.ATTRS:
                path, to = pairs[n]
                refused[n] = Denied(f"{path!r}: cannot be moved to {to!r}: the directory to move to does not exist")
        return refused

    def delete(self, paths: Sequence[bytes]) -> list[Gone | Denied | None]:
        responses = self._call_each(sftp.REMOVE, paths)
        return [_refusal(path, response) for path, response in zip(paths, responses, strict=True)]

    def make_directories(self, directories: Sequence[bytes]) -> list[Gone | Denied | None]:
        unknown = [path for path in dict.fromkeys(directories) if path not in self.known_directories]
        missing = self._missing(unknown)
        made: dict[bytes, Response] = {}
        for _, group in groupby(sorted(missing, key=_depth), key=_depth):  # a server may answer in any order
            level = list(group)
            made |= zip(level, self.requests.call_all([_mkdir(path) for path in level]), strict=True)
        absent = self._missing(missing)  # another fetcher may have created one in the meantime
        self._remember(set(unknown).difference(absent))
        return [path_refusal(refusal(path, made[path])) if path in absent else None for path in directories]

    def _remember(self, directories: set[bytes]) -> None:
        if len(self.known_directories) + len(directories) > KNOWN_DIRECTORIES:
            self.known_directories.clear()
        self.known_directories |= directories

    def _missing(self, paths: Sequence[bytes]) -> list[bytes]:
        responses = self._call_each(sftp.STAT, paths)
        return [path for path, response in zip(paths, responses, strict=True) if not self._is_directory(path, response)]

    def _is_directory(self, path: bytes, response: Response) -> bool:
        if response.kind != sftp.ATTRS:
            return False
        kind = sftp.FieldReader(response.body).attributes().kind
        return kind == "directory" or (kind == "unknown" and self._opens(path))

    def _opens(self, directory: bytes) -> bool:
        opened = self.requests.call(sftp.OPENDIR, text(directory))
        if opened.kind == sftp.HANDLE:
            self.requests.close(opened.text)
        return opened.kind == sftp.HANDLE

    def _call_each(self, kind: int, paths: Sequence[bytes]) -> list[Response]:
        return self.requests.call_all([(kind, text(path)) for path in paths])


def _line(path: bytes, response: Response) -> Line | None:
    """Returns what a response to LSTAT tells about a file; None if it tells of no file."""
    if response.kind != sftp.ATTRS and response.code != sftp.UNSUPPORTED:
        return None
    known = sftp.FieldReader(response.body).attributes() if response.kind == sftp.ATTRS else sftp.Attributes()
    return known.line(path.rpartition(b"/")[2])


def _is_unclear(path: bytes, response: Response) -> bool:
    """Tells whether a response to LSTAT leaves open what there is."""
    line = _line(path, response)
    return line is not None and not (line.complete and (line.kind != "file" or line.size))


def _seen(path: bytes, response: Response) -> Entry | Gone | Denied | None:
    """Returns the file that a clear response to LSTAT tells of."""
    if response.code == sftp.NO_SUCH_FILE:
        return None
    line = _line(path, response)
    if line is None:
        return path_refusal(refusal(path, response))
    entry = listed(line)
    return replace(entry, name=path) if isinstance(entry, Entry) else None


def _refusal(path: bytes, response: Response) -> Gone | Denied | None:
    return None if response.code == sftp.OK else path_refusal(refusal(path, response))


def _texts(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return text(pair[0]), text(pair[1])


def _mkdir(path: bytes) -> Request:
    return sftp.MKDIR, text(path), sftp.NO_ATTRIBUTES


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _depth(path: bytes) -> int:
    return path.count(b"/")
