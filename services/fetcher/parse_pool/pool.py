"""ParserPool: files are parsed in processes of their own, so that cores add up and a poison file kills nothing else."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Pipe
from pathlib import Path
from queue import SimpleQueue

import orjson

from services.fetcher.assemble.batches import RAW
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse_pool.child import Order, ParserMemory, receive
from services.fetcher.preprocess.steps import Preprocessing
from shared.errors import Hopeless

log = logging.getLogger(__name__)


class _Died(Exception):  # noqa: N818
    """The process ended, or was ended, before it answered."""


class _Process:
    """A child that parses one file after the other; ends by itself when its line is cut."""

    def __init__(self, memory: ParserMemory) -> None:
        self.line, theirs = Pipe()
        limits = orjson.dumps(asdict(memory)).decode()
        argv = [sys.executable, "-m", "services.fetcher.parse_pool.child", str(theirs.fileno()), limits]
        self.child = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.told: dict[str, Preprocessing | None] = {}
        """What it knows of each system."""

    def parse(self, order: Order, timeout_s: float) -> Parsed | Exception:
        """Raises _Died."""
        system, wanted = order.origin.system, order.wanted
        try:
            self.line.send(replace(order, wanted=None) if self.told.get(system) is wanted else order)
            self.told[system] = wanted
            if not self.line.poll(timeout_s):
                raise _Died(f"no end after {timeout_s:g} s")
            return receive(self.line)
        except (EOFError, OSError) as error:
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
            raise _Died(f"its process ended with code {self.child.returncode}") from error

    def is_alive(self) -> bool:
        return self.child.poll() is None

    def end(self) -> None:
        self.line.close()
        self.child.kill()
        self.child.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserPoolLimits:
    """Of parsing."""

    processes: int = 0
    """0: one for each core."""
    timeout_s: float = 120.0
    memory: ParserMemory = field(default_factory=ParserMemory)
    """Of each."""


class ParserPool:
    """Shared by the download threads: each has a process while it has a file."""

    def __init__(
        self,
        limits: ParserPoolLimits,
        profiles: tuple[Profile, ...],
        wanted: Callable[[str], Preprocessing] = lambda _: RAW,
    ) -> None:
        """Args: wanted: by the name of a system; the same object while nothing changes."""
        self.limits = limits
        self.profiles = profiles
        self.wanted = wanted
        self.idle: SimpleQueue[_Process | None] = SimpleQueue()
        self.count = limits.processes or os.cpu_count() or 1
        for _ in range(self.count):
            self.idle.put(None)  # started when there is work

    def __call__(self, data: bytes | Path, origin: Origin) -> Parsed:
        """Parse a file, given whole or by its path here, as `batches.read_file` does; waits for a process.

        Raises:
            BadFile, Incomplete: as there.
            Hopeless: the parser was killed by it twice, or found no end in time.
            Unreachable: what its system wants is not known.
        """
        order = Order(data, origin, self.profiles, self.wanted(origin.system))
        try:
            answer = self._parsed(order)
        except _Died as first:
            log.warning("parser died, file tried once more", extra={"file": origin.file_id, "reason": str(first)})
            try:
                answer = self._parsed(order)
            except _Died as again:
                raise Hopeless(f"it kills the parser: {first}; {again}") from again
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _parsed(self, order: Order) -> Parsed | Exception:
        process = self.idle.get()
        try:
            if process and not process.is_alive():  # while it was idle: no file is to blame
                process.end()
                process = None
            process = process or _Process(self.limits.memory)
            return process.parse(order, self.limits.timeout_s)
        except _Died:
            if process:
                process.end()
            process = None
            raise
        finally:
            self.idle.put(process)

    def close(self) -> None:
        """When no file is under way."""
        for _ in range(self.count):
            if process := self.idle.get():
                process.end()
