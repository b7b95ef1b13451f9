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
from services.fetcher.preprocessing import Preprocessing
from shared.errors import Hopeless

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """A file to parse."""

    data: bytes | Path
    """Its content, or where it lies on this machine."""
    origin: Origin
    profiles: tuple[Profile, ...]
    wanted: Preprocessing | None
    """None: as for the last file of its system; a dictionary is large."""


def answer(order: Order, wanted: Preprocessing) -> Parsed | Exception:
    """What became of it; any other error is the parser's own and ends the process."""
    read = partial(read_file, origin=order.origin, profiles=order.profiles, wanted=wanted)
    try:
        if isinstance(order.data, bytes):
            return read(order.data)
        with order.data.open("rb") as file:
            return read(iter(partial(file.read, PIECE_BYTES), b""))
    except (Hopeless, Incomplete) as error:
        return error
    except MemoryError:
        return Hopeless("it takes more memory than a parser may have (fetcher.parser-memory-mb)")


def main(descriptor: int, max_memory_mb: int) -> None:
    """Until the line is cut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fetcher ends us
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (max_memory_mb << 20, max_memory_mb << 20))
    known: dict[str, Preprocessing] = {}
    with Connection(descriptor) as line:
        while True:
            try:
                order: Order = line.recv()
            except EOFError:
                return
            system = order.origin.system
            known[system] = order.wanted or known[system]
            line.send(answer(order, known[system]))
            del order


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
