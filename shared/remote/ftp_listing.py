"""Directory listings over FTP, whichever commands and dialects a server knows.

MLSD tells all facts of a file. Where a server lacks it, or leaves facts out, SIZE and MDTM are asked for each file;
where those are missing too, the lines of LIST are read. The time of a file must come from the same command in each
session, because a file is known by it: the order is always MLSD (or MDTM, which agrees with it), then LIST.
"""

import ftplib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import tzinfo
from time import time

from shared.errors import Unreachable
from shared.remote.ftp_client import UNSUPPORTED, argument, data_chunks
from shared.remote.listing import ListingBudget, ListingLimits, listed
from shared.remote.listing_lines import LONGEST_LINE, Kind, Line, byte_count, list_line, mlsd_line, rfc3659_time_s
from shared.remote.session import Entry, Gone, OddEntry, child, is_plain_name

FORBIDDEN = ("permission", "denied", "not enough privileges", "not allowed", "forbidden")
NOTHING_THERE = ("no files", "no such file", "not found", "empty")


class FtpListing:
    """The listings of one session, and what is known by now of its server."""

    def __init__(self, client: ftplib.FTP, timeout_s: float, zone: tzinfo, limits: ListingLimits) -> None:
        """Args: zone: of the times in the lines of LIST."""
        self.client = client
        self.timeout_s = timeout_s
        self.zone = zone
        self.limits = limits
        self.unsupported: set[str] = set()
        """Commands that the server does not know."""
        self.proven: set[str] = set()
        """Commands that worked: their refusal means that the file is not there."""
        self.type = ""

    def set_type(self, kind: str) -> None:
        """Switches between A (listings) and I (sizes and files)."""
        if self.type != kind:
            self.client.voidcmd(f"TYPE {kind}")
            self.type = kind

    def directory(self, directory: bytes) -> Iterator[tuple[bytes, Entry | OddEntry | None]]:
        """Yields each name with its entry, or with None if it is a directory.

        Raises:
            Gone: the directory does not exist.
            ftplib.error_perm: it is refused.
        """
        budget = ListingBudget(self.limits)
        incomplete: list[Line] = []
        for line in self._lines(directory, budget):
            if line.complete:
                yield line.name, listed(line)
            else:
                incomplete.append(line)  # no command may be sent while the listing arrives
        long = _LongListing(lambda: self._long(directory, budget))
        for line in incomplete:
            budget.spend()
            if (found := self._completed(directory, line, long)) is not None:
                yield line.name, listed(found)

    def _lines(self, directory: bytes, budget: ListingBudget) -> Iterator[Line]:
        if "MLSD" not in self.unsupported:
            begun = False
            try:
                for line in self._mlsd(directory, budget):
                    begun = True
                    yield line
            except ftplib.error_perm as error:
                if begun or not self._without_mlsd(directory, error):
                    raise
            else:
                return
        names = self._names(directory, budget)
        if names is None:
            yield from self._listed_alone(directory, budget)
        else:
            yield from (Line(name) for name in names)

    def _without_mlsd(self, directory: bytes, error: ftplib.error_perm) -> bool:
        """Tells whether other commands can list the directory: some servers refuse an unknown command like a path."""
        code = str(error)[:3]
        if code in UNSUPPORTED or code in {"501", "530"}:
            self.unsupported.add("MLSD")
            return True
        return self.is_directory(directory)

    def _mlsd(self, directory: bytes, budget: ListingBudget) -> Iterator[Line]:
        """Lists by MLSD (RFC 3659 clause 7) in bounded memory. Its facts are unambiguous, unlike the lines of LIST."""
        for text in self._text_lines(f"MLSD {argument(directory)}", budget):
            if (line := mlsd_line(text)) is not None:
                yield line

    def _names(self, directory: bytes, budget: ListingBudget) -> list[bytes] | None:
        """Returns the names in a directory; None where only LIST can tell them."""
        if "NLST" in self.unsupported:
            return None
        try:
            texts = [text.rstrip(b"\r") for text in self._text_lines(f"NLST {argument(directory)}", budget)]
        except (ftplib.error_perm, ftplib.error_temp) as error:
            if str(error)[:3] in UNSUPPORTED:
                self.unsupported.add("NLST")
                return None
            if str(error)[:3] not in {"450", "550"} or any(word in str(error).lower() for word in FORBIDDEN):
                raise
            if not self.is_directory(directory):
                raise Gone(f"{directory!r}: {error}") from error
            if any(word in str(error).lower() for word in NOTHING_THERE):
                return []  # some servers refuse to list an empty directory
            return None
        if not texts and not self.is_directory(directory):
            raise Gone(repr(directory))  # some servers list nothing for a missing directory
        names = (text.rstrip(b"/").rpartition(b"/")[2] for text in texts)  # some servers list paths
        return [name for name in dict.fromkeys(names) if name not in {b"", b".", b".."}]

    def _listed_alone(self, directory: bytes, budget: ListingBudget) -> Iterator[Line]:
        """Yields the lines of LIST; their times only where MDTM, which is exact, does not tell them."""
        lines = list(self._list(directory, budget))
        if not lines and not self.is_directory(directory):
            raise Gone(repr(directory))
        for line in lines:
            exact = "MDTM" not in self.unsupported and line.kind in {"file", "unknown"}
            yield replace(line, mtime_s=None) if exact else line

    def _list(self, path: bytes, budget: ListingBudget) -> Iterator[Line]:
        now_s = time()
        for text in self._text_lines(f"LIST {argument(path)}", budget):
            if (line := list_line(text, now_s, self.zone)) is not None:
                yield line

    def _long(self, directory: bytes, budget: ListingBudget) -> dict[bytes, Line]:
        """Returns the lines of LIST by name; none where the server refuses."""
        try:
            return {line.name: line for line in self._list(directory, budget)}
        except (ftplib.error_perm, ftplib.error_temp):
            return {}

    def _text_lines(self, command: str, budget: ListingBudget) -> Iterator[bytes]:
        self.set_type("A")
        rest = b""
        for chunk in data_chunks(self.client, command, self.timeout_s):
            *lines, rest = (rest + chunk).split(b"\n")
            budget.spend(entries=len(lines), size=len(chunk))
            yield from lines
            if len(rest) > LONGEST_LINE:
                raise Unreachable(f"a line of more than {LONGEST_LINE} bytes in the listing: {rest[:80]!r}")
        if rest:
            yield rest

    def _completed(self, directory: bytes, line: Line, long: "_LongListing") -> Line | None:
        """Returns a line with what other commands tell; None for a file that vanished meanwhile."""
        if not is_plain_name(line.name) or b"\r" in line.name:
            return replace(line, kind="other") if is_plain_name(line.name) else line
        path = child(directory, line.name)
        size = self.size(path) if line.size is None else line.size
        if line.kind == "unknown" and size is None:
            if not self.unsupported & {"SIZE", "MDTM"} and self.is_directory(path):
                return replace(line, kind="directory")
            line = replace(_merged(line, long.of(line.name)), mtime_s=line.mtime_s)
            if line.kind == "directory" or (line.kind == "unknown" and self.is_directory(path)):
                return replace(line, kind="directory")
        elif line.kind == "unknown":
            line = replace(line, kind=self._sized_kind(path))
        line = replace(line, size=line.size if size is None else size)
        if line.kind in {"file", "unknown"} and line.mtime_s is None:
            line = replace(line, mtime_s=self.mtime_s(path))
        return line if line.complete else _merged(line, long.of(line.name))

    def _sized_kind(self, path: bytes) -> Kind:
        """Returns the kind of what has a size: a file; but some servers tell a size of directories, too."""
        return "directory" if b"." not in path.rpartition(b"/")[2] and self.is_directory(path) else "file"

    def size(self, path: bytes) -> int | None:
        """Returns the answer to SIZE; None where there is none."""

        def ask() -> int | None:
            self.set_type("I")
            size = self.client.size(argument(path))
            return None if size is None else byte_count(b"%d" % size)

        return self._fact("SIZE", ask)

    def mtime_s(self, path: bytes) -> int | None:
        """Returns the answer to MDTM, in seconds since 1970; None where there is none."""
        return self._fact("MDTM", lambda: rfc3659_time_s(self.client.voidcmd(f"MDTM {argument(path)}")[3:].encode()))

    def _fact(self, command: str, ask: Callable[[], int | None]) -> int | None:
        if command in self.unsupported:
            return None
        try:
            fact = ask()
        except (ftplib.error_perm, ftplib.error_temp) as error:
            if (code := str(error)[:3]) == "421":
                raise  # the server ends the connection
            if code in UNSUPPORTED:
                self.unsupported.add(command)
            return None
        except ValueError:  # no number
            return None
        if fact is not None:
            self.proven.add(command)
        return fact

    def look(self, path: bytes) -> Entry | None:
        """Returns the entry of a regular file, or None if there is no such file."""
        size = self.size(path)
        if size is None and "SIZE" in self.proven:
            return None
        mtime_s = self.mtime_s(path)
        line = Line(path.rpartition(b"/")[2], "unknown" if size is None else "file", size, mtime_s)
        for tell in (self._mlst, self._mlsd_of_parent, self._list_of_path, self._list_of_parent):
            if line.complete:
                break
            line = _merged(line, tell(path))
        if line.kind == "unknown" and line.size is not None:
            line = replace(line, kind=self._sized_kind(path))
        found = listed(line)
        return replace(found, name=path) if isinstance(found, Entry) else None

    def _mlst(self, path: bytes) -> Line | None:
        if self.unsupported & {"MLST", "MLSD"}:
            return None
        try:
            reply = self.client.voidcmd(f"MLST {argument(path)}").encode("latin-1")
        except ftplib.error_perm as error:
            if str(error)[:3] in UNSUPPORTED:
                self.unsupported.add("MLST")
            return None
        lines = (mlsd_line(text.strip()) for text in reply.split(b"\n")[1:-1])
        return next((line for line in lines if line is not None), None)

    def _mlsd_of_parent(self, path: bytes) -> Line | None:
        if "MLSD" in self.unsupported or "MLST" not in self.unsupported:
            return None
        return self._of_parent(path, self._mlsd)

    def _list_of_path(self, path: bytes) -> Line | None:
        name = path.rpartition(b"/")[2]
        lines = [line for line in self._long(path, ListingBudget(self.limits)).values() if line.kind != "unreadable"]
        return lines[0] if len(lines) == 1 and lines[0].name.rpartition(b"/")[2] == name else None

    def _list_of_parent(self, path: bytes) -> Line | None:
        return self._of_parent(path, self._list)

    def _of_parent(self, path: bytes, lines: Callable[[bytes, ListingBudget], Iterator[Line]]) -> Line | None:
        parent, _, name = path.rpartition(b"/")
        try:
            found = [line for line in lines(parent or b"/", ListingBudget(self.limits)) if line.name == name]
        except (ftplib.error_perm, ftplib.error_temp):
            return None
        return found[0] if found else None

    def is_directory(self, path: bytes) -> bool:
        here = "" if path.startswith(b"/") else self.client.pwd()
        try:
            self.client.cwd(argument(path))
            if here:
                self.client.cwd(here)
        except ftplib.error_perm:
            return False
        return True


class _LongListing:
    """The lines of LIST of one directory, read when the first of them is needed."""

    def __init__(self, read: Callable[[], dict[bytes, Line]]) -> None:
        self.read = read
        self.lines: dict[bytes, Line] | None = None

    def of(self, name: bytes) -> Line | None:
        if self.lines is None:
            self.lines = self.read()
        return self.lines.get(name)


def _merged(line: Line, other: Line | None) -> Line:
    """Returns a line with what the other one knows beyond it."""
    if other is None or other.kind == "unreadable":
        return line
    return Line(
        line.name,
        other.kind if line.kind == "unknown" else line.kind,
        other.size if line.size is None else line.size,
        other.mtime_s if line.mtime_s is None else line.mtime_s,
    )
