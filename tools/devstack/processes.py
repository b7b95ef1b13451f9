"""Processes that outlive the command that started them, known by pid files and stopped by them.

A pid file also holds when the process started, so that another one that got the same pid later is never touched.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

LOOK_S = 0.02
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Of this process: they would stay as zombies if nobody took their exit codes."""


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
        """Whether it runs; one that ended and waits for its parent does not."""
        _reap(self.pid)
        return self.started != "" and _start_time(self.pid) == self.started

    def stop(self, timeout_s: float = 20.0) -> None:
        """Ask it to end (SIGTERM); make it end (SIGKILL) when it does not in time. Returns when it is gone."""
        self._signal(signal.SIGTERM)
        if not self._gone_within(timeout_s):
            self.kill()
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; its pid file stays, as after a crash."""
        self._signal(signal.SIGKILL)
        if not self._gone_within(30.0):
            raise TimeoutError(f"{self.name}: pid {self.pid} does not end")

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
            sleep(LOOK_S)
        return True


def start(
    home: Path, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Process:
    """Start a process in a session of its own; its output is appended to `<home>/log/<name>.log`.

    Raises:
        RuntimeError: one of that name runs already.
    """
    running = find(home, name)
    if running is not None:
        raise RuntimeError(f"{name} runs already, pid {running.pid}")
    for folder in ("run", "log"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    with (home / "log" / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd, start_new_session=True
        )
    _children[child.pid] = child
    process = Process(home, name, child.pid, _start_time(child.pid))
    try:
        _write_down(process)
    except OSError:
        process.kill()  # else nobody would ever find it
        raise
    return process


def _write_down(process: Process) -> None:
    """Whole or not at all: a pid file cut short would hide a process that runs."""
    partial = process.pid_file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"pid": process.pid, "started": process.started}))
    partial.replace(process.pid_file)


def find(home: Path, name: str) -> Process | None:
    """The running process of that name, if there is one."""
    file = home / "run" / f"{name}.json"
    if not file.exists():
        return None
    process = Process(home, name, **json.loads(file.read_text()))
    return process if process.alive() else None


def running(home: Path) -> list[Process]:
    """All that run under this home."""
    names = sorted(file.stem for file in (home / "run").glob("*.json"))
    return [process for name in names if (process := find(home, name)) is not None]


def _start_time(pid: int) -> str:
    """When a pid's process started, in the system's words; empty when it does not run."""
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
    return "" if fields[0] in "ZX" else fields[19]


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
