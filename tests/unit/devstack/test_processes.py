import errno
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.devstack import processes

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()",
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in processes.running(tmp_path):
        process.stop(timeout_s=1)


def started(home: Path, argv: list[str]) -> processes.Process:
    process = processes.start(home, "one", argv)
    while "up" not in process.log_tail():
        assert process.alive()
    return process


def test_a_started_process_is_found_again_by_its_pid_file(home: Path) -> None:
    process = started(home, SLEEPER)
    assert processes.find(home, "one") == process
    assert processes.running(home) == [process]
    with pytest.raises(RuntimeError, match="already running"):
        processes.start(home, "one", SLEEPER)


def test_a_stopped_process_is_gone_and_so_is_its_pid_file(home: Path) -> None:
    process = started(home, SLEEPER)
    process.stop()
    assert not process.alive()
    assert processes.find(home, "one") is None
    assert not process.pid_file.exists()


def test_a_process_that_ignores_sigterm_is_killed(home: Path) -> None:
    process = started(home, STUBBORN)
    process.stop(timeout_s=0.2)
    assert not process.alive()


def test_a_killed_process_is_not_reported_as_running(home: Path) -> None:
    process = started(home, SLEEPER)
    process.kill()
    assert processes.find(home, "one") is None
    started(home, SLEEPER)


def test_a_process_that_ended_before_its_start_time_was_read_does_not_run(home: Path) -> None:
    """A process whose start time was never read must not match a process that is gone, which has none either."""
    gone = processes.start(home, "one", SLEEPER)
    gone.kill()
    never_seen = processes.Process(home, "one", gone.pid, started="")
    assert not never_seen.alive()
    never_seen.stop(timeout_s=1)


def test_a_process_that_ends_just_before_the_signal_is_no_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(home, SLEEPER)
    process.kill()
    looks = iter([True])
    monkeypatch.setattr(processes.Process, "alive", lambda _: next(looks, False))
    process.stop(timeout_s=1)


def test_a_process_whose_pid_file_cannot_be_written_is_not_left_running(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        processes.start(home, "one", [*SLEEPER, marker := str(home)])
    monkeypatch.undo()
    assert processes.find(home, "one") is None
    assert marker not in subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout


def test_another_process_with_the_same_pid_is_never_touched(home: Path) -> None:
    process = started(home, SLEEPER)
    other = json.loads(process.pid_file.read_text()) | {"started": "long ago"}
    process.pid_file.write_text(json.dumps(other))
    assert processes.find(home, "one") is None
    processes.Process(home, "one", **other).kill()
    assert process.alive()
    process.kill()


def test_a_pid_file_of_an_earlier_boot_matches_no_running_process(home: Path) -> None:
    """Pids and start times count from the boot and may repeat; the identity of the boot does not."""
    process = started(home, SLEEPER)
    ticks, boot = process.started.split(" ")
    process.pid_file.write_text(json.dumps({"pid": process.pid, "started": f"{ticks} not-{boot}"}))
    assert processes.find(home, "one") is None
    process.kill()


@pytest.mark.parametrize("text", ["", '{"pid": 1', '{"pid": 1}', "[]"])
def test_an_invalid_pid_file_matches_no_process(home: Path, text: str) -> None:
    process = started(home, SLEEPER)
    process.pid_file.write_text(text)
    assert processes.find(home, "one") is None
    assert processes.running(home) == []
    process.kill()


def test_a_stopped_process_leaves_the_pid_file_of_its_successor_alone(home: Path) -> None:
    first = started(home, SLEEPER)
    first.kill()
    second = processes.start(home, "one", SLEEPER)
    first.stop()
    assert processes.find(home, "one") == second


def test_a_process_takes_over_a_name_and_stops_the_one_that_had_it(home: Path) -> None:
    before = started(home, SLEEPER)
    assert processes.take_over(home, "one") == before
    assert not before.alive()
    mine = processes.find(home, "one")
    assert mine is not None
    assert mine.pid == os.getpid()
    assert processes.register(home, "one") == mine
    mine.forget()
    assert processes.take_over(home, "one") is None
    mine.forget()


def test_a_name_that_is_taken_is_not_registered_again(home: Path) -> None:
    process = started(home, SLEEPER)
    with pytest.raises(
        processes.AlreadyRunning, match=f"one is already running under .*, pid {process.pid}: stop it first"
    ):
        processes.register(home, "one")


def test_an_interruption_waits_until_the_pid_file_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the start of a process and the writing of its pid file must not leave an unknown process."""
    at_start = processes._start_time

    def interrupted(pid: int) -> str:
        signal.raise_signal(signal.SIGINT)
        return at_start(pid)

    monkeypatch.setattr(processes, "_start_time", interrupted)
    with pytest.raises(KeyboardInterrupt):
        processes.start(home, "one", SLEEPER)
    monkeypatch.undo()
    assert processes.find(home, "one") is not None


@pytest.mark.skipif(sys.platform != "linux", reason="by a system call of Linux")
def test_a_process_runs_until_its_last_thread_has_ended(home: Path) -> None:
    """A killed server is in this state for some milliseconds: its first thread is gone, its ports are still taken."""
    number = {"x86_64": 60, "aarch64": 93}[platform.machine()]
    leave = (
        f"import ctypes, threading; threading.Thread(target=threading.Event().wait).start(); print('up', flush=True); \
ctypes.CDLL(None).syscall({number}, 0)"
    )
    process = started(home, [sys.executable, "-c", leave])
    stat = Path(f"/proc/{process.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert processes.find(home, "one") == process
    process.kill()
    assert not process.alive()
