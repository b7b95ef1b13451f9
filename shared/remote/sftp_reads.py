"""Pipelined reading over SFTP: many files, or many directories, under way at once on one channel, in one thread."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from shared.errors import Unreachable
from shared.remote import sftp_requests as sftp
from shared.remote.session import Denied, Entry, Gone, child, is_name
from shared.remote.sftp_requests import Answer, Requests, refusal, text, u32, u64

FILES_AT_ONCE = 32
HELD_BYTES = 16 << 20
"""Of all files under way together, unless one alone is larger."""
AHEAD_BYTES = 4 << 20
"""Asked for and not answered yet, or not in order."""
LARGE_READ, PLAIN_READ = 255 << 10, 32 << 10
"""Of one request: what OpenSSH answers at once, and what every server must."""
DIRECTORIES_AT_ONCE = 64
LISTINGS_AHEAD, LISTINGS_AHEAD_BELOW = 4, 2
"""Requests under way for a directory: the first one, and those below it, of which many are under way."""


@dataclass
class Ability:
    """What a server was seen to do; kept as long as the session."""

    read_bytes: int = LARGE_READ
    files_at_once: int = FILES_AT_ONCE


@dataclass(eq=False, slots=True)
class Download:
    """A file that is asked for. Its content goes to `out`, or is gathered in `pieces`, in order."""

    path: bytes
    size: int
    out: BinaryIO | None = None
    pieces: list[bytes] = field(default_factory=list)
    refused: Gone | Denied | None = None
    handle: bytes = b""
    asked: int = 0
    taken: int = 0
    """Bytes handed on."""
    under_way: int = 0
    early: dict[int, bytes] = field(default_factory=dict)
    """Pieces that came before one in front of them."""

    def got(self, at: int, data: bytes) -> None:
        self.early[at] = data
        while (piece := self.early.pop(self.taken, None)) is not None:
            if self.out is None:
                self.pieces.append(piece)
            else:
                self.out.write(piece)
            self.taken += len(piece)

    @property
    def wants_more(self) -> bool:
        return self.handle != b"" and self.refused is None and self.asked < self.size

    @property
    def over(self) -> bool:
        return not self.under_way and (self.refused is not None or self.asked >= self.size)


@dataclass(slots=True)
class _Piece:
    """A READ under way; length 0: the OPEN before it."""

    file: Download
    at: int = 0
    length: int = 0
    is_rest: bool = False
    """Of a piece that came shorter than asked."""


class Downloads:
    """Many files on one channel; one that is refused does not hold up the others."""

    def __init__(self, requests: Requests, ability: Ability, files: Iterable[Download]) -> None:
        self.requests = requests
        self.ability = ability
        self.todo = iter(files)
        self.next: Download | None = None
        self.opened: dict[Download, None] = {}
        self.under_way: dict[int, _Piece] = {}

    def run(self) -> Iterator[Download]:
        """Each file when it is through."""
        try:
            while self._open_more():
                answer = self.requests.any_of(self.under_way)
                file = self._take(self.under_way.pop(answer.number), answer)
                self._ask_on(file)
                if file in self.opened and file.over:
                    self._close(file)
                    yield file
        finally:
            self.requests.forget(self.under_way)
            for file in list(self.opened):
                self._close(file)

    def _open_more(self) -> bool:
        """As many as there is room for; False when all are through."""
        while len(self.opened) < self.ability.files_at_once:
            file = self.next or next(self.todo, None)
            self.next = None
            if file is None:
                break
            if self.opened and sum(other.size for other in self.opened) + file.size > HELD_BYTES:
                self.next = file
                break
            self.opened[file] = None
            self._ask(_Piece(file), sftp.OPEN, text(file.path), u32(sftp.FOR_READING), sftp.NO_ATTRIBUTES)
        return bool(self.opened)

    def _ask_on(self, file: Download) -> None:
        """Its next pieces, as far as the bounds allow."""
        while file.wants_more and file.asked - file.taken < AHEAD_BYTES:
            if file.under_way and len(self.under_way) * self.ability.read_bytes >= AHEAD_BYTES:
                return
            length = min(self.ability.read_bytes, file.size - file.asked)
            self._read(file, file.asked, length)
            file.asked += length

    def _read(self, file: Download, at: int, length: int, *, is_rest: bool = False) -> None:
        self._ask(_Piece(file, at, length, is_rest), sftp.READ, text(file.handle), u64(at), u32(length))

    def _ask(self, piece: _Piece, kind: int, *fields: bytes) -> None:
        self.under_way[self.requests.ask(kind, *fields)] = piece
        piece.file.under_way += 1

    def _take(self, piece: _Piece, answer: Answer) -> Download:
        file = piece.file
        file.under_way -= 1
        if piece.length:
            self._take_read(piece, answer)
        elif answer.kind == sftp.HANDLE:
            file.handle = answer.text
        elif answer.code == sftp.FAILURE and len(self.opened) > 1 and self.next is None:
            # Some servers have few handles: fewer files at once then, and this one again.
            del self.opened[file]
            self.ability.files_at_once = len(self.opened)
            self.next = file
        else:
            file.refused = of_path(refusal(file.path, answer))
        return file

    def _take_read(self, piece: _Piece, answer: Answer) -> None:
        file, length = piece.file, piece.length
        if answer.kind == sftp.DATA and (data := answer.text):
            if piece.is_rest:
                self.ability.read_bytes = PLAIN_READ  # there was more: it answers large ones in part
            file.got(piece.at, data[:length])
            if len(data) < length:
                self._read(file, piece.at + len(data), length - len(data), is_rest=True)
        elif answer.kind == sftp.DATA or answer.code == sftp.EOF:
            file.size = min(file.size, piece.at)  # it shrank
        elif length > PLAIN_READ:
            self.ability.read_bytes = PLAIN_READ  # it refuses large ones
            for at in range(piece.at, piece.at + length, PLAIN_READ):
                self._read(file, at, min(PLAIN_READ, piece.at + length - at))
        else:
            file.refused = of_path(refusal(file.path, answer))

    def _close(self, file: Download) -> None:
        del self.opened[file]
        if file.handle:
            self.requests.close(file.handle)


@dataclass(eq=False, slots=True)
class _Listing:
    directory: bytes
    depth: int
    """Levels to go below it."""
    ahead: int = LISTINGS_AHEAD_BELOW
    handle: bytes = b""
    under_way: int = 0
    ended: bool = False


class Walk:
    """`session.Session.tree`: memory for the paths of directories not listed yet, and a window of answers."""

    def __init__(self, requests: Requests, directory: bytes, depth: int, leave: Collection[bytes]) -> None:
        self.requests = requests
        self.leave = leave
        self.first = _Listing(directory, depth, LISTINGS_AHEAD)
        self.todo = deque([self.first])
        self.opened: dict[_Listing, None] = {}
        self.under_way: dict[int, _Listing] = {}

    def run(self) -> Iterator[tuple[bytes, Entry | Denied]]:
        try:
            while self._open_more():
                answer = self.requests.any_of(self.under_way)
                listing = self.under_way.pop(answer.number)
                listing.under_way -= 1
                yield from self._take(listing, answer)
                if listing.ended and not listing.under_way:
                    self._close(listing)
        finally:
            self.requests.forget(self.under_way)
            for listing in list(self.opened):
                self._close(listing)

    def _open_more(self) -> bool:
        while self.todo and len(self.opened) < DIRECTORIES_AT_ONCE:
            listing = self.todo.popleft()
            self.opened[listing] = None
            self._ask(listing, sftp.OPENDIR, listing.directory)
        return bool(self.opened)

    def _ask(self, listing: _Listing, kind: int, of: bytes) -> None:
        self.under_way[self.requests.ask(kind, text(of))] = listing
        listing.under_way += 1

    def _take(self, listing: _Listing, answer: Answer) -> Iterator[tuple[bytes, Entry | Denied]]:
        if answer.kind == sftp.HANDLE:
            listing.handle = answer.text
        elif answer.kind != sftp.NAME:
            yield from self._end(listing, answer)
            return
        while not listing.ended and listing.under_way < listing.ahead:
            self._ask(listing, sftp.READDIR, listing.handle)
        if answer.kind == sftp.NAME:
            self.requests.flush()  # the server works while the names are read
            yield from self._names(listing, answer)

    def _names(self, listing: _Listing, answer: Answer) -> Iterator[tuple[bytes, Entry]]:
        for name, attributes in sftp.Reader(answer.body).names():
            if not is_name(name):
                continue
            if attributes.is_file:
                yield listing.directory, attributes.entry(name)
            elif attributes.is_directory and listing.depth > 0 and name not in self.leave:
                self.todo.append(_Listing(child(listing.directory, name), listing.depth - 1))

    def _end(self, listing: _Listing, answer: Answer) -> Iterator[tuple[bytes, Denied]]:
        if listing.ended:
            return
        listing.ended = True
        if answer.code == sftp.EOF:
            return
        refused = of_path(refusal(listing.directory, answer))
        if listing is self.first:
            raise refused
        if isinstance(refused, Denied):
            yield listing.directory, refused

    def _close(self, listing: _Listing) -> None:
        del self.opened[listing]
        if listing.handle:
            self.requests.close(listing.handle)


def of_path(refused: Gone | Unreachable) -> Gone | Denied:
    """The answer concerns one path alone; else it is raised."""
    if isinstance(refused, Gone | Denied):
        return refused
    raise refused
