"""Starts, finds and stops processes that outlive the command that started them, by their pid files.

A pid file also holds the boot and the start time of the process, so that another process with the same pid is never
touched, even after a reboot.
"""

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

EXIT_POLL_S = 0.02
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this process by pid; they would remain as zombies if nothing read their exit codes."""


class AlreadyRunning(RuntimeError):  # noqa: N818
    """A process of that name is already running."""


@dataclass(frozen=True, slots=True)
class Process:
    """A started process; its pid and start time are its identity."""

    home: Path
    name: str
    pid: int
    started: str

    @property
    def log_path(self) -> Path:
        return self.home / "log" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.home / "run" / f"{self.name}.json"

    def alive(self) -> bool:
        """Returns True if the process runs; a zombie does not."""
        _reap(self.pid)
        return self.started != "" and _start_time(self.pid) == self.started

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stops the process: SIGTERM, then SIGKILL if it does not end in time. Returns when it is gone."""
        self._signal(signal.SIGTERM)
        if not self._gone_within(timeout_s):
            self.kill()
        self.forget()

    def forget(self) -> None:
        """Removes the pid file, unless it names a newer process by now."""
        if _read(self.home, self.name) == self:
            self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kills the process and waits until it is gone; its pid file stays, as after a crash."""
        self._signal(signal.SIGKILL)
        if not self._gone_within(30.0):
            raise TimeoutError(f"{self.name}: pid {self.pid} did not exit within 30 s of SIGKILL")

    def log_tail(self, lines: int = 20) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def _signal(self, number: int) -> None:
        if self.alive():
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(self.pid, number)

    def _gone_within(self, timeout_s: float) -> bool:
        until_s = monotonic() + timeout_s
        while self.alive():
            if monotonic() > until_s:
                return False
            sleep(EXIT_POLL_S)
        return True


def start(
    home: Path, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Process:
    """Starts a process in a session of its own; its output is appended to `<home>/log/<name>.log`.

    Raises:
        AlreadyRunning: a process of that name is running.
    """
    running = find(home, name)
    if running is not None:
        raise AlreadyRunning(f"{name} is already running, pid {running.pid}: stop it first")
    (home / "log").mkdir(parents=True, exist_ok=True)
    with (home / "log" / f"{name}.log").open("ab") as log, _signals_held_back():
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd, start_new_session=True
        )
        _children[child.pid] = child
        process = Process(home, name, child.pid, _start_time(child.pid))
        try:
            _write_down(process)
        except OSError:
            process.kill()  # nothing would find it without a pid file
            raise
    return process


def register(home: Path, name: str) -> Process:
    """Writes the pid file of the current process.

    Raises:
        AlreadyRunning: another process of that name is running.
    """
    running = find(home, name)
    if running is not None and running.pid != os.getpid():
        raise AlreadyRunning(f"{name} is already running under {home}, pid {running.pid}: stop it first")
    process = Process(home, name, os.getpid(), _start_time(os.getpid()))
    _write_down(process)
    return process


def take_over(home: Path, name: str) -> Process | None:
    """Registers the current process in place of another one; stops and returns the other one if it runs."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "run" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two that start at once, the second stops the first
        before = find(home, name)
        if before is not None:
            before.stop()
        register(home, name)
    return before


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Delays SIGINT and SIGTERM, because a child without a pid file would never be found again."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled by the main thread only
        return
    arrived: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: arrived.append(number)) for number in numbers]
    try:
        yield
    finally:
        for held_back, handler in zip(numbers, before, strict=True):
            signal.signal(held_back, handler)
        for number in arrived:
            signal.raise_signal(number)


def _write_down(process: Process) -> None:
    """Writes the pid file completely or not at all: an incomplete one would hide a running process."""
    process.pid_file.parent.mkdir(parents=True, exist_ok=True)
    partial = process.pid_file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"pid": process.pid, "started": process.started}))
    partial.replace(process.pid_file)


def _read(home: Path, name: str) -> Process | None:
    """Returns the process in the pid file, running or not; None if there is no readable file."""
    try:
        found = json.loads((home / "run" / f"{name}.json").read_text())
        return Process(home, name, int(found["pid"]), str(found["started"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def find(home: Path, name: str) -> Process | None:
    """Returns the running process of that name, if there is one."""
    process = _read(home, name)
    return process if process is not None and process.alive() else None


def running(home: Path) -> list[Process]:
    """Returns all processes that run under this home."""
    names = sorted(file.stem for file in (home / "run").glob("*.json"))
    return [process for name in names if (process := find(home, name)) is not None]


def _start_time(pid: int) -> str:
    """Returns the boot and the start time of the process with a pid; empty if it does not run."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():  # macOS
        found = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, started = found.stdout.strip().partition(" ")
        return "" if state.startswith("Z") else started.strip()
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, threads, ticks = fields[0], int(fields[17]), fields[19]
    # a process whose first thread has ended keeps files and ports until the last one has
    return "" if state in "ZX" and threads <= 1 else f"{ticks} {_boot()}"


def _boot() -> str:
    """Returns the identity of the machine's current boot; empty if the operating system has none."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
