"""Pipelined reads over SFTP: one thread transfers many files at once on one channel."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from shared.errors import Unreachable
from shared.remote import sftp_requests as sftp
from shared.remote.session import MORE_IN_MEMORY, MORE_ON_DISK, Denied, Gone, Longer
from shared.remote.sftp_requests import Requests, Response, refusal, text, u32, u64

FILES_AT_ONCE = 32
HELD_BYTES = 16 << 20
"""Limit for the total size of the files in transfer, unless a single file is larger."""
NOT_FILES = ("directory", "other")
AHEAD_BYTES = 4 << 20
"""Limit for bytes that are requested but have not arrived, or have arrived out of order."""
LARGE_READ, PLAIN_READ = 255 << 10, 32 << 10
"""Bytes per READ request: the most that OpenSSH returns at once, and what every server must return."""
BLOCK_BYTES = 4096
"""A response that ends at a multiple of it may have been truncated by the server."""


@dataclass
class ServerCapabilities:
    """Limits of a server as observed so far; kept for the life of the session."""

    read_bytes: int = LARGE_READ
    files_at_once: int = FILES_AT_ONCE


@dataclass(eq=False, slots=True)
class Download:
    """A file in transfer, read to its end. Its content is written to `out`, or collected in `pieces`, in order."""

    path: bytes
    size: int
    """The listed size; the real one may differ."""
    out: BinaryIO | None = None
    pieces: list[bytes] = field(default_factory=list)
    refused: Gone | Denied | None = None
    handle: bytes = b""
    asked: int = 0
    taken: int = 0
    """Bytes delivered in order."""
    under_way: int = 0
    early: dict[int, bytes] = field(default_factory=dict)
    """Pieces that arrived out of order, by offset."""
    wanted: int = 0
    """Bytes to request: one more than the file is known to have, until its end was seen."""

    def __post_init__(self) -> None:
        self.wanted = self.size + 1

    @property
    def held(self) -> int:
        return max(self.size, self.taken)

    def add(self, at: int, data: bytes) -> None:
        """Adds a piece; delivers all pieces that are now in order."""
        self.early[at] = data
        while (piece := self.early.pop(self.taken, None)) is not None:
            if self.out is None:
                self.pieces.append(piece)
            else:
                self.out.write(piece)
            self.taken += len(piece)

    @property
    def wants_more(self) -> bool:
        return self.handle != b"" and self.refused is None and self.asked < self.wanted

    @property
    def over(self) -> bool:
        return not self.under_way and (self.refused is not None or self.asked >= self.wanted)

    def ends_at(self, end: int) -> bool:
        """Tells whether a response that is shorter than requested and ends there is the last one."""
        return end == self.size and end % BLOCK_BYTES != 0

    def extend(self) -> None:
        """All that was wanted arrived, so there is more than the listing told."""
        most = self.size + (MORE_IN_MEMORY if self.out is None else MORE_ON_DISK)
        if self.wanted > most:
            self.refused = Longer(f"{self.path!r}: longer than {most} bytes, far more than it was listed with")
        self.wanted = min(most + 1, self.wanted + max(LARGE_READ, self.wanted - self.size))


@dataclass(slots=True)
class _Piece:
    """A READ request in flight; length 0 stands for the OPEN before it."""

    file: Download
    at: int = 0
    length: int = 0
    is_rest: bool = False
    """Set if it requests the rest of a piece that arrived shorter than requested."""
    is_look: bool = False
    """Set for the LSTAT before the OPEN: what was listed as a file may be a link by now."""


class Downloads:
    """Downloads many files on one channel. A refused file does not delay the others."""

    def __init__(self, requests: Requests, capabilities: ServerCapabilities, files: Iterable[Download]) -> None:
        self.requests = requests
        self.capabilities = capabilities
        self.todo = iter(files)
        self.next: Download | None = None
        self.opened: dict[Download, None] = {}
        self.under_way: dict[int, _Piece] = {}

    def run(self) -> Iterator[Download]:
        """Yields each file when it is complete or refused."""
        try:
            while self._open_more():
                response = self.requests.wait_for_any(self.under_way)
                file = self._take(self.under_way.pop(response.number), response)
                self._ask_on(file)
                if file in self.opened and file.over:
                    self._close(file)
                    yield file
        finally:
            self.requests.forget(self.under_way)
            for file in list(self.opened):
                self._close(file)

    def _open_more(self) -> bool:
        """Opens as many files as there is room for. Returns False when all files are finished."""
        while len(self.opened) < self.capabilities.files_at_once:
            file = self.next or next(self.todo, None)
            self.next = None
            if file is None:
                break
            if self.opened and sum(other.held for other in self.opened) + file.size > HELD_BYTES:
                self.next = file
                break
            self.opened[file] = None
            self._ask(_Piece(file, is_look=True), sftp.LSTAT, text(file.path))
            self._ask(_Piece(file), sftp.OPEN, text(file.path), u32(sftp.FOR_READING), sftp.NO_ATTRIBUTES)
        return bool(self.opened)

    def _ask_on(self, file: Download) -> None:
        """Requests the next pieces of a file, within the limits."""
        while file.wants_more and file.asked - file.taken < AHEAD_BYTES:
            if file.under_way and len(self.under_way) * self.capabilities.read_bytes >= AHEAD_BYTES:
                return
            length = min(self.capabilities.read_bytes, file.wanted - file.asked)
            self._read(file, file.asked, length)
            file.asked += length

    def _read(self, file: Download, at: int, length: int, *, is_rest: bool = False) -> None:
        self._ask(_Piece(file, at, length, is_rest), sftp.READ, text(file.handle), u64(at), u32(length))

    def _ask(self, piece: _Piece, kind: int, *fields: bytes) -> None:
        self.under_way[self.requests.submit(kind, *fields)] = piece
        piece.file.under_way += 1

    def _take(self, piece: _Piece, response: Response) -> Download:
        file = piece.file
        file.under_way -= 1
        if piece.is_look:
            if response.kind == sftp.ATTRS and sftp.FieldReader(response.body).attributes().kind in NOT_FILES:
                file.refused = Denied(f"{file.path!r}: not a regular file any more")
        elif piece.length:
            self._take_read(piece, response)
        elif response.kind == sftp.HANDLE:
            file.handle = response.text
        elif response.code == sftp.FAILURE and len(self.opened) > 1 and self.next is None:
            # Some servers allow few open handles: reduce the number of files at once and try this one again.
            del self.opened[file]
            self.capabilities.files_at_once = len(self.opened)
            self.next = file
        else:
            file.refused = path_refusal(refusal(file.path, response))
        return file

    def _take_read(self, piece: _Piece, response: Response) -> None:
        file, length = piece.file, piece.length
        if response.kind == sftp.DATA and (data := response.text):
            if piece.is_rest:
                self.capabilities.read_bytes = PLAIN_READ  # there was more: the server truncates large reads
            file.add(piece.at, data[:length])
            end = piece.at + len(data)
            if len(data) < length and not file.ends_at(end):
                self._read(file, end, length - len(data), is_rest=True)
            elif len(data) >= length and piece.at + length == file.wanted:
                file.extend()
        elif response.kind == sftp.DATA or response.code == sftp.EOF:
            file.wanted = min(file.wanted, piece.at)
        elif length > PLAIN_READ:
            self.capabilities.read_bytes = PLAIN_READ  # the server refuses large reads
            for at in range(piece.at, piece.at + length, PLAIN_READ):
                self._read(file, at, min(PLAIN_READ, piece.at + length - at))
        else:
            file.refused = path_refusal(refusal(file.path, response))

    def _close(self, file: Download) -> None:
        del self.opened[file]
        if file.handle:
            self.requests.close(file.handle)


def path_refusal(refused: Gone | Unreachable) -> Gone | Denied:
    """Returns a refusal that concerns one path only; raises any other.

    Raises:
        Unreachable: the refusal concerns the whole session.
    """
    if isinstance(refused, Gone | Denied):
        return refused
    raise refused
