"""A coverage-guided fuzzer finds no file on which lane and expat differ or that breaks the reader; it runs briefly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="has wheels for some Pythons only", exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "-runs=3000", "-max_total_time=20", "-seed=1", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 3000 runs" in done.stderr or "DONE" in done.stderr
