"""ParserPool parses files in separate processes: it uses all cores, and a poison file kills nothing but its parser."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Pipe
from pathlib import Path
from queue import SimpleQueue

import orjson

from services.fetcher.assemble.batches import RAW
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse_pool.child import ParseRequest, ParserMemory, receive_result
from services.fetcher.parse_pool.container import cores
from services.fetcher.parse_pool.defect import ParserDefect
from services.fetcher.preprocess.steps import Preprocessing
from shared import metrics
from shared.defects import REASON
from shared.errors import Hopeless

log = logging.getLogger(__name__)


NEEDED = frozenset({"LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TMPDIR", "TZ"})
"""Variables that Python and its libraries read, besides those that begin with PYTHON."""
_TRIES = 2
"""Attempts to parse a file on which a parser fails, each in a fresh process."""


def bare_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that a parser process needs: nothing that holds a secret, in case a file takes it over."""
    return {name: text for name, text in environment.items() if name in NEEDED or name.startswith("PYTHON")}


class _Died(Exception):  # noqa: N818
    """A parser process ended, or has to be ended, before it returned a result."""


class _Process:
    """A child process that parses one file after the other; it ends by itself when its connection is closed."""

    def __init__(self, memory: ParserMemory) -> None:
        self.connection, theirs = Pipe()
        limits = orjson.dumps(asdict(memory)).decode()
        argv = [sys.executable, "-m", "services.fetcher.parse_pool.child", str(theirs.fileno()), limits]
        self.child = subprocess.Popen(
            argv,
            env=bare_environment(os.environ),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self.sent: dict[str, Preprocessing | None] = {}
        """System -> the preprocessing that was sent last."""

    def parse(self, request: ParseRequest, timeout_s: float) -> Parsed | Exception:
        """Sends a request and waits for its result.

        Raises:
            _Died: the process ended, or there was no result in time.
            ParserDefect: an unplanned error.
        """
        system, preprocessing = request.origin.system, request.preprocessing
        try:
            self.connection.send(
                replace(request, preprocessing=None) if self.sent.get(system) is preprocessing else request
            )
            self.sent[system] = preprocessing
            if not self.connection.poll(timeout_s):
                raise _Died(f"no result after {timeout_s:g} s")
            result = receive_result(self.connection)
        except (EOFError, OSError) as error:
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
            raise _Died(f"the process exited with code {self.child.returncode}") from error
        if isinstance(result, ParserDefect):
            raise result
        return result

    def is_alive(self) -> bool:
        return self.child.poll() is None

    def end(self) -> None:
        self.connection.close()
        self.child.kill()
        self.child.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserPoolLimits:
    """Limits of the parser pool."""

    processes: int = 0
    """Number of parser processes; 0: one per core that the process may use."""
    timeout_s: float = 120.0
    """Maximum time for one file."""
    memory: ParserMemory = field(default_factory=ParserMemory)
    """Memory per process."""


class ParserPool:
    """Shared by the download threads, each of which uses one process while it parses a file."""

    def __init__(
        self,
        limits: ParserPoolLimits,
        profiles: tuple[Profile, ...],
        preprocessing: Callable[[str], Preprocessing] = lambda _: RAW,
    ) -> None:
        """Args: preprocessing: returns the preprocessing of a system, the same object while nothing changes."""
        self.limits = limits
        self.profiles = profiles
        self.preprocessing = preprocessing
        self.idle: SimpleQueue[_Process | None] = SimpleQueue()
        self.count = limits.processes or cores()
        for _ in range(self.count):
            self.idle.put(None)  # the process is started when there is work

    def __call__(self, data: bytes | Path, origin: Origin) -> Parsed:
        """Parses a file, given by content or by path, like `batches.read_file`; waits for an idle process.

        Raises:
            BadFile, Incomplete: see `batches.read_file`.
            Hopeless: the parser process died twice on this file, or exceeded the time or memory limit; or an
                unplanned error occurred twice, the second time in a fresh process.
            Unreachable: the preprocessing of its system is not known.
        """
        request = ParseRequest(data, origin, self.profiles, self.preprocessing(origin.system))
        problems: list[_Died | ParserDefect] = []
        while len(problems) < _TRIES:
            try:
                result = self._parsed(request)
            except (_Died, ParserDefect) as problem:
                problems.append(problem)
                log.warning("parser failed on a file", extra=_about(origin, problem) | {"try": len(problems)})
            else:
                if isinstance(result, Exception):
                    raise result
                return result
        raise _given_up(origin, problems) from problems[-1]

    def _parsed(self, request: ParseRequest) -> Parsed | Exception:
        process = self.idle.get()
        try:
            if process and not process.is_alive():  # it died while it was idle, so no file caused it
                process.end()
                process = None
            process = process or _Process(self.limits.memory)
            return process.parse(request, self.limits.timeout_s)
        except BaseException:  # its state may be the cause, or a result may be left in its connection
            if process:
                process.end()
            process = None
            raise
        finally:
            self.idle.put(process)

    def close(self) -> None:
        """Ends all processes, each when it is idle."""
        for _ in range(self.count):
            if process := self.idle.get():
                process.end()


def _given_up(origin: Origin, problems: Sequence[_Died | ParserDefect]) -> Hopeless:
    """Returns the reason why a file is given up; counts a defect (docs/decisions/0013-unplanned-errors.md)."""
    defect = next((problem for problem in reversed(problems) if isinstance(problem, ParserDefect)), None)
    if not defect:
        return Hopeless(f"the parser process died twice on this file: {'; '.join(map(str, problems))}")
    metrics.DEFECTS.inc()
    log.error("file failed after a defect of the parser", extra=_about(origin, defect))
    return Hopeless(f"{REASON}: {defect.what}")


def _about(origin: Origin, problem: _Died | ParserDefect) -> dict[str, object]:
    about: dict[str, object] = {
        "file": origin.file_id,
        "system": origin.system,
        "element": origin.element,
        "path": origin.file_name,
    }
    if isinstance(problem, ParserDefect):
        return about | {"reason": problem.what, "traceback": problem.traceback}
    return about | {"reason": str(problem)}
