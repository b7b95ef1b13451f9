"""Pipelined listings over SFTP: one thread lists many directories at once on one channel."""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from shared.remote import sftp_requests as sftp
from shared.remote.listing import ListingBudget, listed
from shared.remote.listing_lines import Line
from shared.remote.session import Denied, Entry, OddEntry, child
from shared.remote.sftp_reads import path_refusal
from shared.remote.sftp_requests import Attributes, Requests, Response, refusal, text

DIRECTORIES_AT_ONCE = 64
LISTINGS_AHEAD, LISTINGS_AHEAD_BELOW = 4, 2
"""READDIR requests in flight per directory: for the first directory, and for each subdirectory (many at once)."""
LOOKS_AT_ONCE = 64
"""LSTAT requests in flight, for names that were listed without all attributes."""


@dataclass(eq=False, slots=True)
class _Listing:
    directory: bytes
    depth: int
    """Number of levels to descend below the directory."""
    ahead: int = LISTINGS_AHEAD_BELOW
    handle: bytes = b""
    under_way: int = 0
    looks: int = 0
    """Names that wait for the response to LSTAT."""
    ended: bool = False

    @property
    def over(self) -> bool:
        return self.ended and not self.under_way and not self.looks


@dataclass(frozen=True, slots=True)
class _Look:
    """An LSTAT request for a name that was listed without all attributes."""

    listing: _Listing
    name: bytes
    long_name: bytes
    listed: Attributes

    def line(self, response: Response) -> Line:
        """Returns what all responses tell together. A file without a time has the time 0, in a later look, too."""
        found = sftp.FieldReader(response.body).attributes() if response.kind == sftp.ATTRS else Attributes()
        known = Attributes(
            self.listed.size if found.size is None else found.size,
            self.listed.mode if found.kind == "unknown" else found.mode,
            self.listed.mtime_s if found.mtime_s is None else found.mtime_s,
        )
        line = known.line(self.name, self.long_name)
        return replace(line, mtime_s=line.mtime_s or 0)


Found = tuple[bytes, Entry | OddEntry | Denied]


class Walk:
    """Implements `session.Session.tree`. Holds the paths of directories not listed yet and a window of responses."""

    def __init__(
        self, requests: Requests, start: tuple[bytes, int], skip: Collection[bytes], budget: ListingBudget
    ) -> None:
        """Args: start: the directory, and the number of levels to descend below it."""
        self.requests = requests
        self.skip = skip
        self.budget = budget
        self.first = _Listing(*start, LISTINGS_AHEAD)
        self.todo = deque([self.first])
        self.opened: dict[_Listing, None] = {}
        self.waiting: deque[_Look] = deque()
        self.looking = 0
        self.under_way: dict[int, _Listing | _Look] = {}

    def run(self) -> Iterator[Found]:
        try:
            while self._open_more():
                self._look_on()
                response = self.requests.wait_for_any(self.under_way)
                self.budget.spend(size=len(response.body))
                asked = self.under_way.pop(response.number)
                if isinstance(asked, _Look):
                    yield from self._looked(asked, response)
                    listing = asked.listing
                else:
                    listing = asked
                    listing.under_way -= 1
                    yield from self._take(listing, response)
                if listing.over:
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
        self.under_way[self.requests.submit(kind, text(of))] = listing
        listing.under_way += 1

    def _look_on(self) -> None:
        while self.waiting and self.looking < LOOKS_AT_ONCE:
            look = self.waiting.popleft()
            self.under_way[self.requests.submit(sftp.LSTAT, text(child(look.listing.directory, look.name)))] = look
            self.looking += 1

    def _take(self, listing: _Listing, response: Response) -> Iterator[Found]:
        if response.kind == sftp.HANDLE:
            listing.handle = response.text
        elif response.kind != sftp.NAME:
            yield from self._end(listing, response)
            return
        while not listing.ended and listing.under_way < listing.ahead:
            self._ask(listing, sftp.READDIR, listing.handle)
        if response.kind == sftp.NAME:
            self.requests.flush()  # so that the server works while the names are decoded
            yield from self._names(listing, response)

    def _names(self, listing: _Listing, response: Response) -> Iterator[Found]:
        fields = sftp.FieldReader(response.body)
        self.budget.spend(entries=fields.count())
        for name, long_name, attributes in fields.names():
            if name in {b"", b".", b".."}:
                continue
            line = attributes.line(name)
            if not line.complete:
                listing.looks += 1
                self.waiting.append(_Look(listing, name, long_name, attributes))
                continue
            if line.kind == "file" and line.size == 0:
                line = attributes.line(name, long_name)
            yield from self._placed(listing, line)

    def _looked(self, look: _Look, response: Response) -> Iterator[Found]:
        self.looking -= 1
        look.listing.looks -= 1
        if response.code != sftp.NO_SUCH_FILE:  # it vanished
            yield from self._placed(look.listing, look.line(response))

    def _placed(self, listing: _Listing, line: Line) -> Iterator[Found]:
        if (found := listed(line)) is not None:
            yield listing.directory, found
        elif listing.depth > 0 and line.name not in self.skip:
            self.todo.append(_Listing(child(listing.directory, line.name), listing.depth - 1))

    def _end(self, listing: _Listing, response: Response) -> Iterator[Found]:
        if listing.ended:
            return
        listing.ended = True
        if response.code == sftp.EOF:
            return
        refused = path_refusal(refusal(listing.directory, response))
        if listing is self.first:
            raise refused
        if isinstance(refused, Denied):
            yield listing.directory, refused

    def _close(self, listing: _Listing) -> None:
        del self.opened[listing]
        if listing.handle:
            self.requests.close(listing.handle)
