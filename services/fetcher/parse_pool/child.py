"""The parser process, `python -m services.fetcher.parse_pool.child FD LIMITS`: receives files and returns messages."""

import resource
import signal
import sys
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path

import orjson

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.preprocess.steps import Preprocessing
from services.fetcher.rows.spool import Spool
from shared.errors import Hopeless, Unreachable

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserMemory:
    """What a parser may take."""

    memory_mb: int = 2048
    held_mb: int = 32
    """Of a file's messages, in memory, until its end was read; more goes to disk."""
    spool_directory: str = ""
    """Where; else the machine's for temporary files."""


def answer(order: Order, wanted: Preprocessing, memory: ParserMemory) -> Parsed | Exception:
    """What became of it; any other error is the parser's own and ends the process."""
    spool = Spool(memory.held_mb << 20, memory.spool_directory)
    read = partial(read_file, origin=order.origin, profiles=order.profiles, wanted=wanted, spool=spool)
    try:
        if isinstance(order.data, bytes):
            return read(order.data)
        with order.data.open("rb") as file:
            return read(iter(partial(file.read, PIECE_BYTES), b""))
    except (Hopeless, Unreachable) as error:
        return error
    except MemoryError:
        return Hopeless("it takes more memory than a parser may have (fetcher.parser-memory-mb)")


def send(line: Connection, found: Parsed | Exception) -> None:
    """The answer; messages on disk stay there, the file goes with them."""
    line.send(found)
    if isinstance(found, Parsed) and found.spooled:
        send_handle(line, found.spooled.file.fileno(), None)
        found.close()


def receive(line: Connection) -> Parsed | Exception:
    """The other end of `send`."""
    found: Parsed | Exception = line.recv()
    if isinstance(found, Parsed) and found.spooled:
        found.spooled.adopt(recv_handle(line))
    return found


def main(descriptor: int, memory: ParserMemory) -> None:
    """Until the line is cut."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fetcher ends us
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory.memory_mb << 20, memory.memory_mb << 20))
    known: dict[str, Preprocessing] = {}
    with Connection(descriptor) as line:
        while True:
            try:
                order: Order = line.recv()
            except EOFError:
                return
            system = order.origin.system
            known[system] = order.wanted or known[system]
            send(line, answer(order, known[system], memory))
            del order


if __name__ == "__main__":
    main(int(sys.argv[1]), ParserMemory(**orjson.loads(sys.argv[2])))
