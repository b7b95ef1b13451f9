"""The process that parses: `python -m services.fetcher.parsing FD MB`, files in by a socket, their messages out."""

import resource
import signal
import sys
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from services.fetcher.batches import Origin, Parsed, read_file
from services.fetcher.parse.profile import Profile
from services.fetcher.parse.unpack import Incomplete
from shared.errors import Hopeless

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """A file to parse."""

    data: bytes | Path
    """Its content, or where it lies on this machine."""
    origin: Origin
    profiles: tuple[Profile, ...]


def answer(order: Order) -> Parsed | Exception:
    """What became of it; any other error is the parser's own and ends the process."""
    try:
        if isinstance(order.data, bytes):
            return read_file(order.data, order.origin, profiles=order.profiles)
        with order.data.open("rb") as file:
            return read_file(iter(partial(file.read, PIECE_BYTES), b""), order.origin, profiles=order.profiles)
    except (Hopeless, Incomplete) as error:
        return error
    except MemoryError:
        return Hopeless("it takes more memory than a parser may have (fetcher.parser-memory-mb)")


def main(descriptor: int, max_memory_mb: int) -> None:
    """Until the line is cut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fetcher ends us
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (max_memory_mb << 20, max_memory_mb << 20))
    with Connection(descriptor) as line:
        while True:
            try:
                order: Order = line.recv()
            except EOFError:
                return
            line.send(answer(order))
            del order


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
