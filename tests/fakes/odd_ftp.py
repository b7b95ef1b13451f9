"""An FTP server that answers as a test says: the dialects and the oddities of public bug reports."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

from shared.inventory import Endpoint

NAME = b"A20261127.0300+0000-0315+0000_N1.xml"
CONTENT = b"<x>" + b"1" * 300 + b"</x>"
SIZE = len(CONTENT)
TIME = "20261127031501"
TIME_S = 1_795_749_301
LIST_LINE = b"-rw-r--r-- 1 pm pm %d Nov 27 03:15 %s" % (SIZE, NAME)
UNKNOWN = "502 command not implemented"
MISSING_FILE = "550 Failed to open file."


@dataclass
class Dialect:
    """The answers of a server: a reply, or the lines of a listing."""

    mlsd: list[bytes] | str = UNKNOWN
    mlst: str = UNKNOWN
    nlst: list[bytes] | str = field(default_factory=lambda: [NAME])
    long: list[bytes] | str = UNKNOWN
    """The answer to LIST."""
    size: str = UNKNOWN
    mdtm: str = UNKNOWN
    retrieve: str = ""
    """The refusal of a download; empty for none."""
    move: str = "250 moved"
    delete: str = "250 deleted"
    directories: tuple[str, ...] = ("/", "/pm")
    end: bytes = b"\r\n"
    endless: bool = False
    """Repeats its listing, or the content of a file, for ever."""
    connections: int = 0


class _Connection:
    """One client; runs in its own thread."""

    def __init__(self, client: socket.socket, dialect: Dialect) -> None:
        self.client = client
        self.dialect = dialect
        self.passive: socket.socket | None = None

    def run(self) -> None:
        with suppress(OSError), self.client.makefile("rb") as commands:
            self.say("220 ready")
            for command in commands:
                verb, _, argument = command.decode("latin-1").strip().partition(" ")
                self.answer(verb.upper(), argument)
        if self.passive is not None:
            self.passive.close()
        self.client.close()

    def say(self, reply: str) -> None:
        self.client.sendall(reply.encode("latin-1") + b"\r\n")

    def answer(self, verb: str, argument: str) -> None:
        dialect, here = self.dialect, argument.endswith(NAME.decode())
        fixed = {"USER": "331 password", "PASS": "230 in", "TYPE": "200 ok", "PWD": '257 "/"', "NOOP": "200 ok"}
        fixed |= {"RNFR": "350 go on", "RNTO": dialect.move, "DELE": dialect.delete}
        if verb in fixed:
            self.say(fixed[verb])
        elif verb == "CWD":
            self.say("250 ok" if argument in dialect.directories else "550 Failed to change directory.")
        elif verb in {"PASV", "EPSV"}:
            self.open_passive(verb)
        elif verb in {"MLSD", "NLST", "LIST"}:
            self.send(dialect.long if verb == "LIST" else getattr(dialect, verb.lower()))
        elif verb in {"SIZE", "MDTM", "MLST"}:
            answer = getattr(dialect, verb.lower())
            self.say(answer if here or not answer.startswith("2") else "550 not there")
        elif verb == "RETR":
            self.send([CONTENT] if here and not dialect.retrieve else dialect.retrieve or MISSING_FILE, raw=True)
        else:
            self.say(UNKNOWN)

    def open_passive(self, verb: str) -> None:
        if self.passive is not None:
            self.passive.close()
        self.passive = socket.create_server(("127.0.0.1", 0))
        port = self.passive.getsockname()[1]
        self.say(f"227 ok (127,0,0,1,{port >> 8},{port & 255})" if verb == "PASV" else f"229 ok (|||{port}|)")

    def send(self, answer: list[bytes] | str, *, raw: bool = False) -> None:
        if isinstance(answer, str):
            self.say(answer)
            return
        assert self.passive is not None
        self.say("150 here it comes")
        data, _ = self.passive.accept()
        content = b"".join(answer) if raw else b"".join(line + self.dialect.end for line in answer)
        with data, suppress(OSError):
            data.sendall(content)
            while self.dialect.endless:
                data.sendall(content)
        self.say("226 done")


@contextmanager
def odd_ftp(dialect: Dialect) -> Iterator[Endpoint]:
    """Serves on the loopback interface until the block ends."""
    server = socket.create_server(("127.0.0.1", 0))
    threads: list[Thread] = []
    clients: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                dialect.connections += 1
                clients.append(client)
                threads.append(Thread(target=_Connection(client, dialect).run))
                threads[-1].start()

    accepting = Thread(target=accept)
    accepting.start()
    try:
        yield Endpoint(
            name="odd", protocol="ftp", host="127.0.0.1", port=server.getsockname()[1], username="pm", password="x",
            directory="/pm",
        )  # fmt: skip
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        accepting.join()
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
