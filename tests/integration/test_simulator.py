"""The simulator as its clients see it: paramiko over real SFTP, kill -9 and restart."""

import asyncio
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import asyncssh
import paramiko
import pytest
import yaml

from tests.unit.simulator.test_generate import read
from tools.simulator.addresses import EVERY_ADDRESS, ServerAddress
from tools.simulator.serve import serve
from tools.simulator.truth import Manifest, Written, expected_rows

ROOT = Path(__file__).parents[2]
ONE = ("--systems", "5ga:1", "--cycles", "1")


@dataclass
class Simulator:
    """A running simulator."""

    directory: Path
    process: subprocess.Popen[str]
    serving: str

    def entry(self, system: str = "5ga", at: int = 0) -> dict[str, Any]:
        return dict(yaml.safe_load((self.directory / "inventory" / f"{system}.yaml").read_text())[at])

    @property
    def written(self) -> dict[str, Any]:
        file = self.directory / "written.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}


@contextmanager
def running(directory: Path, *options: str) -> Iterator[Simulator]:
    argv = [sys.executable, "-m", "tools.simulator", "--dir", str(directory), *options]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Simulator(directory, process, json.loads(process.stdout.readline())["serving"])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    options = ("--systems", "4ga:20,5ga:20", "--cycles", "1", "--counters", "10", "--in-place-share", "0")
    with running(tmp_path_factory.mktemp("sim"), *options) as found:
        eventually(lambda: found.written.get("over", False), "the files are written")
        yield found


def eventually(true: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    until_s = monotonic() + within_s
    while not true():
        assert monotonic() < until_s, f"not within {within_s} s: {what}"
        Event().wait(0.005)


@contextmanager
def session(entry: dict[str, Any], known_hosts: Path) -> Iterator[paramiko.SFTPClient]:
    """Connects as a careful client does: an unknown host is refused."""
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(known_hosts))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            entry["host"], entry["port"], entry["username"], entry["password"],
            look_for_keys=False, allow_agent=False, timeout=20, banner_timeout=20, auth_timeout=20,
        )  # fmt: skip
        with client.open_sftp() as sftp:
            yield sftp


@pytest.fixture
def sftp(simulator: Simulator) -> Iterator[paramiko.SFTPClient]:
    with session(simulator.entry(), simulator.directory / "known_hosts") as found:
        yield found


def visible(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "files").rglob("*.xml.gz")}


def named(directory: Path) -> dict[str, bytes]:
    lines = (line for line in Manifest(directory).lines() if isinstance(line, Written))
    return {made.name: made.packed for made in (line.file() for line in lines)}


def test_what_a_client_reads_is_the_truth(simulator: Simulator) -> None:
    for system in ("4ga", "5ga"):
        entry = simulator.entry(system, at=3)
        with session(entry, simulator.directory / "known_hosts") as sftp:
            (name,) = sftp.listdir(entry["directory"])
            with sftp.open(f"{entry['directory']}/{name}") as file:
                rows = read(gzip.decompress(file.read()), system)
        assert rows == [row for row in expected_rows(simulator.directory) if row.element.endswith(f",{entry['name']}")]


def test_a_host_that_is_not_known_or_has_another_key_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    with (
        pytest.raises(paramiko.SSHException, match="not found in known_hosts"),
        session(simulator.entry(), tmp_path / "none"),
    ):
        pass
    other = paramiko.HostKeys()
    other.add(f"[{simulator.entry()['host']}]:{simulator.entry()['port']}", "ssh-ed25519", _another_key(tmp_path))
    other.save(str(tmp_path / "other"))
    with pytest.raises(paramiko.BadHostKeyException), session(simulator.entry(), tmp_path / "other"):
        pass


def _another_key(folder: Path) -> paramiko.PKey:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(folder / "key"))
    return paramiko.Ed25519Key.from_private_key_file(str(folder / "key"))


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"password": ""}, {"username": "5ga-002"}, {"username": "x"}])
def test_a_wrong_password_is_refused_also_that_of_another_element(simulator: Simulator, wrong: dict[str, str]) -> None:
    with (
        pytest.raises(paramiko.AuthenticationException),
        session(simulator.entry() | wrong, simulator.directory / "known_hosts"),
    ):
        pass


def test_an_element_sees_its_own_folder_only(simulator: Simulator, sftp: paramiko.SFTPClient) -> None:
    assert sftp.listdir("/") == ["pm"]
    assert sftp.listdir("/../..") == ["pm"]
    for path in ("/etc/passwd", "../../../../../../etc/passwd", str(simulator.directory / "truth.jsonl")):
        with pytest.raises(FileNotFoundError):
            sftp.open(path)
    for number, target in enumerate(("/etc", "../../../../../../../etc")):
        sftp.symlink(target, f"/link{number}")
        with pytest.raises(FileNotFoundError):
            sftp.listdir(f"/link{number}")
        sftp.remove(f"/link{number}")


def test_a_collector_can_make_folders_move_files_and_leave_notes(sftp: paramiko.SFTPClient) -> None:
    (name,) = sftp.listdir("/pm")
    content = sftp.open(f"/pm/{name}").read()
    sftp.mkdir("/pm/done")
    sftp.rename(f"/pm/{name}", f"/pm/done/{name}")
    assert (sftp.listdir("/pm"), sftp.listdir("/pm/done")) == (["done"], [name])
    with sftp.open("/pm/done/note", "w") as note:
        note.write(b"why")
    sftp.posix_rename("/pm/done/note", f"/pm/done/{name}")  # over what is there
    assert sftp.open(f"/pm/done/{name}").read() == b"why"
    with sftp.open(f"/pm/{name}", "w") as file:
        file.write(content)
    sftp.remove(f"/pm/done/{name}")
    sftp.rmdir("/pm/done")


def test_all_elements_can_be_read_at_once(simulator: Simulator) -> None:
    entries = [simulator.entry(system, at) for system in ("4ga", "5ga") for at in range(20)]

    def content(entry: dict[str, Any]) -> dict[str, bytes]:
        with session(entry, simulator.directory / "known_hosts") as sftp:
            return {name: sftp.open(f"/pm/{name}").read() for name in sftp.listdir("/pm")}

    with ThreadPoolExecutor(len(entries)) as pool:
        found = list(pool.map(content, entries))
    assert {name: text for of_element in found for name, text in of_element.items()} == named(simulator.directory)


def test_killed_and_started_again_it_keeps_its_promise_its_port_and_its_keys(tmp_path: Path) -> None:
    """At every kill, every visible file is in the manifest; in the end every file in it is visible, complete."""
    options = ("--systems", "4ga:6,5ga:6", "--cycle-s", "0", "--in-place-share", "0.3", "--counters", "60")
    served, files = set(), 0
    for more in (1, 5, 17, 8, 13):
        with running(tmp_path, *options) as found:
            served.add((found.serving, (tmp_path / "known_hosts").read_text(), str(found.entry())))
            eventually(lambda wanted=files + more: len(visible(tmp_path)) >= wanted, "more files")  # type: ignore[misc]
            found.process.kill()
            found.process.wait()
        files = len(visible(tmp_path))
        assert visible(tmp_path).keys() <= named(tmp_path).keys()
        assert len({*named(tmp_path)} - {*visible(tmp_path)}) <= 1
    cycles = len({line.end_s for line in Manifest(tmp_path).lines() if isinstance(line, Written)}) + 1
    with running(tmp_path, *options, "--cycles", str(cycles)) as found:
        eventually(lambda: found.written.get("over", False), "the last cycle")
        assert visible(tmp_path) == named(tmp_path)
        assert len(visible(tmp_path)) == cycles * 12 == found.written["files"]
        assert sum(row.present for row in expected_rows(tmp_path)) == found.written["values"]
        with session(found.entry(), tmp_path / "known_hosts") as sftp:
            assert len(sftp.listdir("/pm")) == cycles
        found.process.terminate()
        assert found.process.wait(timeout=30) == 0
    assert len(served) == 1
    periods = sorted({row.end_s for row in expected_rows(tmp_path)})
    assert periods == list(range(periods[0], periods[0] + cycles * 900, 900))


def test_a_second_simulator_of_a_folder_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with running(tmp_path, *ONE) as first:
        argv = [sys.executable, "-m", "tools.simulator", "--dir", str(tmp_path), *ONE]
        second = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert (
            second.stderr == f"simulator is already running under {tmp_path}, pid {first.process.pid}: stop it first\n"
        )


def test_a_port_that_is_in_use_by_now_is_replaced_everywhere(tmp_path: Path) -> None:
    with running(tmp_path, *ONE) as first:
        before = first.entry()["port"]
    with socket.create_server(("127.0.0.1", before)), running(tmp_path, *ONE) as second:
        port = second.entry()["port"]
        assert port != before
        assert f"[127.0.0.1]:{port} " in (tmp_path / "known_hosts").read_text()
        assert second.serving == f"127.0.0.1:{port}"


def test_each_element_is_reached_at_its_own_address_and_known_by_it(simulator: Simulator) -> None:
    entries = [simulator.entry(system, at) for system in ("4ga", "5ga") for at in range(20)]
    assert len({entry["host"] for entry in entries}) == 40
    for entry in entries:
        with session(entry, simulator.directory / "known_hosts") as sftp:
            assert sftp.listdir("/") == ["pm"]


def test_elements_may_be_behind_one_host(tmp_path: Path) -> None:
    with running(tmp_path, "--systems", "4ga:3,5ga:3", "--cycles", "1", "--one-host") as found:
        entries = [found.entry(system, at) for system in ("4ga", "5ga") for at in range(3)]
        assert {entry["host"] for entry in entries} == {"127.0.0.1"}
        assert len((tmp_path / "known_hosts").read_text().splitlines()) == 1
        with session(entries[5], tmp_path / "known_hosts") as sftp:
            assert sftp.listdir("/") == ["pm"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.1.0.1", entries[0]["port"]))


class Narrow(ServerAddress):
    """A server that accepts connections to a part of loopback, as the simulator's accepts those to loopback only."""

    accepted = IPv4Network("127.2.0.0/16")


def test_a_connection_to_an_address_that_is_no_element_s_ends_at_once(tmp_path: Path) -> None:
    async def both() -> tuple[bytes, bytes]:
        server = await serve(tmp_path, {}, Narrow(EVERY_ADDRESS, "", 0))
        port = server.get_port()
        found = await _first_bytes("127.2.0.1", port), await _first_bytes("127.1.0.1", port)
        server.close()
        return found

    greeting, nothing = asyncio.run(asyncio.wait_for(both(), 20))
    assert greeting.startswith(b"SSH-2.0")
    assert nothing == b""


async def _first_bytes(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await reader.read(7)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_a_simulator_that_only_serves_writes_nothing_and_serves_what_others_write(tmp_path: Path) -> None:
    with running(tmp_path, *ONE, "--serve-only") as found:
        folder = tmp_path / "files" / "5ga" / "5ga-001" / "pm"
        (folder / "A.xml").write_bytes(b"written by another program")
        with session(found.entry(), tmp_path / "known_hosts") as sftp:
            assert sftp.open("/pm/A.xml").read() == b"written by another program"
        assert not (tmp_path / "truth.jsonl").exists()
