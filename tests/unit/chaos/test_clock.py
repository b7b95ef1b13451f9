"""The wall clock of a Python process jumps when its file changes, while it runs; its monotonic clock does not."""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.world import CLOCK_FOLDER

PROGRAM = """
import sys, time
from time import time as imported_before
for _ in sys.stdin:
    print(imported_before() - time.monotonic(), flush=True)
"""


def test_the_clock_of_a_running_process_jumps(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    file.write_bytes(struct.pack("<d", 0.0))
    env = {**os.environ, "PYTHONPATH": str(CLOCK_FOLDER), "CHAOS_CLOCK": str(file)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout

        def shown() -> float:
            print(file=process.stdin, flush=True)
            assert process.stdout
            return float(process.stdout.readline())

        own = time.time() - time.monotonic()
        assert abs(shown() - own) < 1.0
        with file.open("r+b") as opened:
            opened.write(struct.pack("<d", -3600.0))
        assert abs(shown() - own + 3600.0) < 1.0
        process.stdin.close()
