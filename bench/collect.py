"""Measures how fast files are collected over SFTP: our session beside paramiko's own calls, in one run.

`python -m bench.collect [--rounds N]` makes one connection for each to one OpenSSH server on this machine (asyncssh if
there is none; the first line says which), interleaves the rounds and prints medians. `plain` is paramiko with its
defaults, `nodelay` the same on a socket with TCP_NODELAY, which paramiko does not set. The last line is a JSON object
of ratios: ours to plain, our listing to listdir_attr; `shapes` contains all of them.
"""

import argparse
import cProfile
import json
import os
import pstats
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import paramiko

from shared.remote import sftp
from tests.fakes.elements import PROTOCOLS, Element

SHAPES = {"5KB": (1000, 5_000), "50KB": (300, 50_000), "500KB": (60, 500_000), "20MB": (2, 20_000_000)}
NAMES = 20_000
Runs = dict[str, Callable[[], int]]
"""Name -> run; each returns the number of bytes or names that it received."""


@contextmanager
def plain_client(element: Element, *, nodelay: bool) -> Iterator[paramiko.SFTPClient]:
    """Yields a client of paramiko, with the ciphers that it chooses itself."""
    endpoint = element.endpoint
    line = socket.create_connection((endpoint.host, endpoint.port))
    if nodelay:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(line)
    if endpoint.key_file:
        transport.connect(username=endpoint.username, pkey=paramiko.PKey.from_path(endpoint.key_file))
    else:
        transport.connect(username=endpoint.username, password=endpoint.login_password)
    client = paramiko.SFTPClient.from_transport(transport)
    assert client is not None
    yield client
    transport.close()


def read_plain(client: paramiko.SFTPClient, files: list[tuple[bytes, int]]) -> int:
    """Reads the files one after the other, as a first implementation would."""
    total = 0
    for path, _ in files:
        with client.open(path) as file:  # type: ignore[arg-type] # it takes bytes
            total += len(file.read())
    return total


def read_ours(session: sftp.SftpSession, files: list[tuple[bytes, int]]) -> int:
    return sum(len(content) for _, content in session.read_all(files) if isinstance(content, bytes))


def race(runs: Runs, rounds: int, wanted: int) -> dict[str, tuple[float, float]]:
    """Takes turns; returns the median seconds and CPU seconds of this process for each run."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begin, cpu = perf_counter(), process_time()
            got = run()
            took[name].append((perf_counter() - begin, process_time() - cpu))
            if got != wanted:
                raise SystemExit(f"{name}: {got} of {wanted}")
    return {name: (median(s for s, _ in all_), median(c for _, c in all_)) for name, all_ in took.items()}


def write_files(element: Element) -> dict[str, list[tuple[bytes, int]]]:
    """Writes the files of each shape to a folder of its own, and NAMES empty files to another."""
    asked = {}
    for shape, (many, size) in SHAPES.items():
        (element.pm / shape).mkdir()
        content = os.urandom(size)
        for number in range(many):
            (element.pm / shape / f"A{number}.xml").write_bytes(content)
        asked[shape] = [(element.directory + b"/%s/A%d.xml" % (shape.encode(), n), size) for n in range(many)]
    (element.pm / "names").mkdir()
    for number in range(NAMES):
        (element.pm / "names" / f"A20261125.0700+0000-0715+0000_SubNetwork=1,ManagedElement=gnb-{number}.xml").touch()
    return asked


def measure(element: Element, rounds: int) -> dict[str, dict[str, float]]:
    """Returns the ratios by shape."""
    asked = write_files(element)
    ratios: dict[str, dict[str, float]] = {}
    with plain_client(element, nodelay=False) as plain, plain_client(element, nodelay=True) as nodelay:
        ours = sftp.connect_sftp(element.endpoint, element.settings)
        names = element.directory + b"/names"
        for shape, files in asked.items():
            many, size = SHAPES[shape]
            runs: Runs = {
                "plain": lambda files=files: read_plain(plain, files),  # type: ignore[misc]
                "nodelay": lambda files=files: read_plain(nodelay, files),  # type: ignore[misc]
                "read_all": lambda files=files: read_ours(ours, files),  # type: ignore[misc]
            }
            found = race(runs, rounds, many * size)
            ratios[shape] = compared(f"{shape} x {many}", found, "read_all", many, many * size)
        listings: Runs = {
            "plain": lambda: len(plain.listdir_attr(names.decode())),
            "nodelay": lambda: len(nodelay.listdir_attr(names.decode())),
            "entries": lambda: sum(1 for _ in ours.entries(names)),
        }
        ratios["listing"] = compared(f"{NAMES} names", race(listings, rounds, NAMES), "entries", NAMES, 0)
        profile(lambda: read_ours(ours, asked["5KB"]))
        ours.close()
    return ratios


def compared(about: str, found: dict[str, tuple[float, float]], ours: str, many: int, size: int) -> dict[str, float]:
    """Prints the rates; returns the ratios of ours to the others."""
    print(about)
    for name, (seconds, cpu) in found.items():
        print(
            f"  {name:9} {many / seconds:9.0f}/s {size / seconds / 1e6:8.1f} MB/s  {cpu / many * 1e3:7.3f} ms CPU each"
            f"  {ours} / it = {seconds / found[ours][0]:.2f}"
        )
    return {f"vs_{name}": round(found[name][0] / found[ours][0], 2) for name in ("plain", "nodelay")}


def profile(run: Callable[[], int]) -> None:
    """Prints where the time of the calling thread is spent; paramiko's transport thread decrypts beside it."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    print("profile of 5KB, the caller's thread, by own time:")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(8)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    server = "openssh" if "openssh" in PROTOCOLS else "sftp"
    print("server:", "OpenSSH" if server == "openssh" else "asyncssh, as there is no sshd here")
    with tempfile.TemporaryDirectory() as folder:
        root, keys = Path(folder) / "root", Path(folder) / "keys"
        (root / "pm").mkdir(parents=True)
        keys.mkdir()
        with PROTOCOLS[server](root, keys) as element:
            ratios = measure(element, given.rounds)
    print(
        json.dumps(
            {
                "pipelined_vs_plain": ratios["5KB"]["vs_plain"],
                "listing_vs_listdir_attr": ratios["listing"]["vs_plain"],
                "shapes": ratios,
            }
        )
    )


if __name__ == "__main__":
    main()
