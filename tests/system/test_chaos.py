"""A short run under faults: no value is lost or doubled, no file is stuck, every figure is right (docs/proof.md)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.devstack import stack as devstack

SECONDS, SEED = 60, 17


@pytest.mark.timeout(600)
def test_everything_is_right_after_a_minute_of_faults(tmp_path: Path) -> None:
    options = ["--seconds", str(SECONDS), "--seed", str(SEED), "--json", "--home", str(tmp_path / "chaos")]
    try:
        command = [sys.executable, "-m", "tests.chaos", *options]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=500)
    finally:
        devstack.down(tmp_path / "chaos")
    report = json.loads(ran.stdout)
    assert report["problems"] == []
    assert ran.returncode == 0
    assert sum(report["faults"].values()) > SECONDS / 5
    assert report["files"].keys() == {"done", "error"}
    assert {(values["sink"], values["system"]) for values in report["values"]} == {
        (sink, system) for sink in ("mysql", "clickhouse") for system in ("4ga", "5ga")
    }
