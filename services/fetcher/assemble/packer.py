"""Writes rows into messages of limited size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.rows.held import Rows, packed
from services.fetcher.rows.spool import HeldText, Spool

_MESSAGE_END = b"]}"


@dataclass(frozen=True, slots=True)
class Packer:
    """Puts messages of at most `max_bytes` bytes into the spool of a file."""

    spool: Spool
    max_bytes: int

    def messages(self, parts: Iterable[Rows], start: bytes) -> Iterator[tuple[HeldText, Rows]]:
        """Yields messages that begin with `start`, an open JSON list of rows, and the rows that each holds.

        Raises:
            BadFile: a single row does not fit into a message.
        """
        try:
            for rows in packed(parts, self.max_bytes - len(start) - len(_MESSAGE_END)):
                yield self.spool.put(start + rows.text + _MESSAGE_END), rows
        except ValueError as error:
            raise BadFile(str(error)) from error

    def release(self, parts: Iterable[Rows]) -> None:
        """Frees the memory of rows that are no longer needed."""
        for rows in parts:
            self.spool.release(rows.held)
