"""The parser process, `python -m services.fetcher.parse_pool.child FD LIMITS`: receives files and returns messages."""

import ctypes
import resource
import signal
import sys
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from traceback import format_exception

import orjson

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse_pool.defect import ParserDefect
from services.fetcher.preprocess.steps import Preprocessing
from services.fetcher.rows.spool import Spool
from shared.errors import Hopeless, Unreachable

_LONGEST_WHAT = 1000
"""Maximum length of an error's description in characters: it may contain parts of the file."""
MOST_DESCRIPTORS = 64
"""Files that a parser process may have open: the connection, a file, what is spooled, modules and time zones."""
PR_SET_NO_NEW_PRIVS = 38
"""Option of prctl(2): no program that this process starts gets more rights, not even one that is setuid."""
READ_BYTES = 1 << 20
"""Bytes that are read at once of a file on disk."""


@dataclass(frozen=True, slots=True)
class ParseRequest:
    """A file to parse."""

    data: bytes | Path
    """The content of the file, or its path on this machine."""
    origin: Origin
    profiles: tuple[Profile, ...]
    preprocessing: Preprocessing | None
    """None: the same as for the last file of the system, as a dictionary is large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserMemory:
    """Memory limits of one parser process."""

    memory_mb: int = 2048
    """Address space of the process."""
    held_mb: int = 32
    """Size of a file's messages that are held in memory until the file is complete; the rest goes to disk."""
    spool_directory: str = ""
    """Directory for what goes to disk; empty: the system's directory for temporary files."""


def parse_request(request: ParseRequest, preprocessing: Preprocessing, memory: ParserMemory) -> Parsed | Exception:
    """Returns the parsed file, a planned error, or any other error as a ParserDefect."""
    spool = Spool(memory.held_mb << 20, memory.spool_directory)
    read = partial(
        read_file, origin=request.origin, profiles=request.profiles, preprocessing=preprocessing, spool=spool
    )
    try:
        if isinstance(request.data, bytes):
            return read(request.data)
        with request.data.open("rb") as file:
            return read(iter(partial(file.read, READ_BYTES), b""))
    except (Hopeless, Unreachable) as error:
        return error
    except MemoryError:
        return Hopeless("the file needs more memory than a parser process may use (fetcher.parser-memory-mb)")
    except Exception as error:  # noqa: BLE001 - a defect costs only the file
        return ParserDefect(f"{type(error).__name__}: {error}"[:_LONGEST_WHAT], "".join(format_exception(error)))


def send_result(connection: Connection, result: Parsed | Exception) -> None:
    """Sends a result to the fetcher; messages on disk stay there and their file is passed on."""
    connection.send(result)
    if isinstance(result, Parsed) and result.spooled:
        send_handle(connection, result.spooled.file.fileno(), None)
        result.close()


def receive_result(connection: Connection) -> Parsed | Exception:
    """Receives what `send_result` sends."""
    result: Parsed | Exception = connection.recv()
    if isinstance(result, Parsed) and result.spooled:
        result.spooled.adopt(recv_handle(connection))
    return result


def restrict(memory_bytes: int) -> None:
    """Limits what this process can do, for good: its memory, its open files, no core file and no new rights."""
    for limit, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, MOST_DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (allowed, allowed))
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("prctl(PR_SET_NO_NEW_PRIVS) failed")


def main(descriptor: int, memory: ParserMemory) -> None:
    """Parses files until the fetcher closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fetcher ends this process
    if sys.platform == "linux":
        restrict(memory.memory_mb << 20)
    known: dict[str, Preprocessing] = {}
    with Connection(descriptor) as connection:
        while True:
            try:
                request: ParseRequest = connection.recv()
            except EOFError:
                return
            system = request.origin.system
            known[system] = request.preprocessing or known[system]
            send_result(connection, parse_request(request, known[system], memory))
            del request


if __name__ == "__main__":
    main(int(sys.argv[1]), ParserMemory(**orjson.loads(sys.argv[2])))
