"""A parser process, which reads hostile files, has no secret and no descriptor of the fetcher, and few rights."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.fetcher.assemble.result import Origin
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse_pool.child import ParserMemory
from services.fetcher.parse_pool.pool import NEEDED, ParserPool, ParserPoolLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "A1.xml"
SECRETS = ("PMFLOW_KAFKA__PASSWORD", "PMFLOW_MYSQL__PASSWORD", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK")


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in /proc of a parser that has parsed a file, started with secrets and open files around it."""
    for name in SECRETS:
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    with (tmp_path / "inventory").open("w") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        pool = ParserPool(ParserPoolLimits(processes=1, memory=ParserMemory(memory_mb=1024)), shipped())
        assert pool(SAMPLE, Origin(system="5ga", file_id="0123456789abcdef", element="e", ver=1)).counts.values
        process = pool.idle.get()
        assert process
        pool.idle.put(process)
        yield Path(f"/proc/{process.child.pid}")
        pool.close()


def variables(process: Path) -> dict[str, str]:
    texts = process.joinpath("environ").read_bytes().decode().split("\0")
    return dict(text.split("=", 1) for text in texts if text)


def test_a_parser_has_only_the_variables_that_python_reads(parser: Path, tmp_path: Path) -> None:
    found = variables(parser)
    assert {name for name in found if not name.startswith("PYTHON")} <= NEEDED
    assert (found["TMPDIR"], found["PYTHONHASHSEED"]) == (str(tmp_path), "7")
    assert {*SECRETS} <= os.environ.keys()  # the fetcher's own


def test_a_parser_has_no_descriptor_but_its_connection_and_the_log(parser: Path) -> None:
    found = {int(file.name): str(file.readlink()) for file in (parser / "fd").iterdir()}
    log = str(Path("/proc/self/fd/2").readlink())
    (connection,) = found.keys() - {0, 1, 2}
    assert found.pop(connection).startswith("socket:")
    assert found == {0: "/dev/null", 1: "/dev/null", 2: log}


def test_a_parser_cannot_get_new_rights_or_leave_its_limits(parser: Path) -> None:
    status = dict(line.split(":\t", 1) for line in (parser / "status").read_text().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    limits = {line[:26].strip(): line[26:].split()[:2] for line in (parser / "limits").read_text().splitlines()}
    assert limits["Max address space"] == [str(1024 << 20)] * 2
    assert limits["Max open files"] == ["64", "64"]
    assert limits["Max core file size"] == ["0", "0"]
