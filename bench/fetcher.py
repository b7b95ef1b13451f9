"""Measures the fetcher: files in groups against one by one, and two parser processes against one.

`python -m bench.fetcher [--files N] [--rounds N]`: an element on an OpenSSH server on this machine (asyncssh if there
is none; the first line says which), four download threads, from the announcement to the messages, without Kafka. The
groups have small files, the processes parse packed files of bench.parse's first shape. Rounds are interleaved, and
medians count. Server and download threads use the same cores as the parser processes, which limits the gain of a
second process. The last line is a JSON object of ratios.
"""

import argparse
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.pm_files import SHAPES, document
from services.fetcher.intake.pools import Pools
from services.fetcher.intake.waiting_files import Announced, WaitingFiles
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits
from shared.messages import FileFound
from tests.fakes.elements import PROTOCOLS
from tests.fakes.fetching import Fetching

THREADS = 4
GROUPED = 16


@contextmanager
def fetching(protocol: str, processes: int) -> Iterator[Fetching]:
    with ExitStack() as closing:
        home = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        (home / "root" / "pm").mkdir(parents=True)
        (home / "keys").mkdir()
        element = closing.enter_context(PROTOCOLS[protocol](home / "root", home / "keys"))
        parsers = ParserPool(ParserPoolLimits(processes=processes), shipped())
        closing.callback(parsers.close)
        one = Fetching(element, parsers)
        closing.callback(one.manager.close)
        yield one


def files_per_second(one: Fetching, files: list[FileFound], together: int) -> float:
    waiting, pools = WaitingFiles(together, 16 << 20), Pools(lambda: {"5ga": THREADS})

    def process(near: FileFound) -> None:
        if group := waiting.take(near):
            one.worker(group)

    began_s = perf_counter()
    for file in files:
        waiting.put(Announced(file, lambda: None))
    for file in files:
        pools.submit("5ga", lambda near=file: process(near))  # type: ignore[misc]
    for _ in files:
        assert one.ended.get(timeout=120).stage == "parsed"
    took_s = perf_counter() - began_s
    pools.close()
    return len(files) / took_s


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=400)
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    protocol = "openssh" if "openssh" in PROTOCOLS else "sftp"
    print(f"{protocol}, {os.cpu_count()} cores, {asked.files} files, {asked.rounds} rounds")
    rates: dict[str, list[float]] = {}
    with fetching(protocol, 1) as one, fetching(protocol, 2) as two:
        packed = zlib.compress(b"".join(document(SHAPES[0])), 6, 31)
        small = [one.file(f"A{n}.xml") for n in range(asked.files)]
        larges = {f: [f.file(f"L{n}.xml.gz", packed) for n in range(asked.files // 4)] for f in (one, two)}
        for _ in range(asked.rounds + 1):
            for name, rate in (
                ("one by one", lambda: files_per_second(one, small, 1)),
                ("grouped", lambda: files_per_second(one, small, GROUPED)),
                ("one process", lambda: files_per_second(one, larges[one], GROUPED)),
                ("two processes", lambda: files_per_second(two, larges[two], GROUPED)),
            ):
                rates.setdefault(name, []).append(rate())
    found = {name: median(several[1:]) for name, several in rates.items()}  # the first round only warms up
    for name, rate in found.items():
        print(f"{name:>14}: {rate:7.0f} files/s")
    ratios = {
        "grouped_vs_one_by_one": found["grouped"] / found["one by one"],
        "two_processes_vs_one": found["two processes"] / found["one process"],
    }
    print(json.dumps({name: round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
