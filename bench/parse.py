"""Measures how fast PM files become messages: the parser and other ways to read them, in one run.

`python -m bench.parse [--rounds N]`: gzipped files in memory to JSON messages compressed with zstd, on one core, all
dialects; the least CPU time of N interleaved rounds counts. The other ways (`bench.parse_others`) check and merge
nothing. The garbage collector is off for all. `expat empty` only unpacks and parses, without handlers. The memory is
measured in a process of its own that reads a file of about 186 MB from disk. The last line is a JSON object of
ratios; those of speed are for shape r, the plain expanded file (`shapes` has them all).
"""

import argparse
import gc
import importlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time

import zstandard
from isal import igzip

from bench.parse_others import OTHERS
from bench.pm_files import LARGE, SHAPES, Shape, document
from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits

HAS_LXML = importlib.util.find_spec("lxml") is not None
ORIGIN = Origin(system="5ga", file_id="0123456789abcdef", element="gnb-1", ver=1)


def product(packed: bytes) -> int:
    """Parses a file as the fetcher does; returns the number of values."""
    pack = zstandard.ZstdCompressor(1)
    parsed = read_file(packed, ORIGIN)
    for batch in parsed.batches:
        pack.compress(batch.value)
    return parsed.counts.values


def race(packed: bytes, rounds: int, others: Mapping[str, Callable[[bytes], int]]) -> dict[str, float]:
    """Runs the ways in turns; returns the least seconds of CPU time of each."""
    approaches = {"product": product, **others}
    best = dict.fromkeys(approaches, float("inf"))
    for _ in range(rounds):
        for name, read in approaches.items():
            begin = process_time()
            read(packed)
            best[name] = min(best[name], process_time() - begin)
    return best


def extra_memory_mb() -> tuple[float, float, float]:
    """Returns the peak of additional memory for a large file, the size of the file, and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.xml.gz"
        size = 0
        with igzip.open(file, "wb", compresslevel=1) as packed:  # type: ignore[no-untyped-call]
            for part in document(LARGE):
                size += len(part)
                packed.write(part)
        child = subprocess.run(
            [sys.executable, "-m", "bench.parse", "--memory", str(file)], check=True, capture_output=True, text=True
        )
    found = json.loads(child.stdout)
    return found["extra_mb"], size / 1e6, found["seconds"]


def measure_memory(file: str) -> None:
    """Prints the memory that reading a file takes beyond the program itself; runs in a process of its own."""
    read_file(b"".join(document(Shape("warm", "", cells=2, groups=1))), ORIGIN)
    before = _peak_mb()
    begin = perf_counter()
    with Path(file).open("rb") as packed:
        parsed = read_file(iter(lambda: packed.read(1 << 16), b""), ORIGIN)
    seconds = perf_counter() - begin
    print(json.dumps({"extra_mb": _peak_mb() - before, "seconds": seconds, "values": parsed.counts.values}))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def files_per_second(packed: bytes, processes: int, files: int = 160) -> float:
    """Returns the rate of the fetcher's own parser processes, called by twice as many threads."""
    parsers = ParserPool(ParserPoolLimits(processes=processes), ())
    with ThreadPoolExecutor(processes * 2) as threads:
        list(threads.map(parsers, [packed] * processes * 2, [ORIGIN] * processes * 2))  # starts and warms them
        began = perf_counter()
        list(threads.map(parsers, [packed] * files, [ORIGIN] * files))
        took_s = perf_counter() - began
    parsers.close()
    return files / took_s


def measure_shape(shape: Shape, rounds: int) -> dict[str, float]:
    """Runs all ways on files of one shape and prints their rates; returns the least seconds of each."""
    plain = b"".join(document(shape))
    packed = zlib.compress(plain, 6, 31)
    count = product(packed)
    others = {name: read for name, read in OTHERS[shape.layout].items() if HAS_LXML or not name.startswith("lxml")}
    best = race(packed, rounds, others)
    print(f"{shape.name}: {shape.about}; {len(plain) / 1e6:.2f} MB, {len(packed) / 1e6:.2f} packed, {count} values")
    for name in best:
        rate = f"{len(plain) / best[name] / 1e6:7.1f} MB/s  {count / best[name] / 1e6:6.2f} M values/s"
        print(f"  {name:15} {rate}  product / it = {best[name] / best['product']:.2f}")
    return best


def ratios_of(best: Mapping[str, float]) -> dict[str, float]:
    """Returns the time of each other way as a multiple of the product's."""
    return {_key(name): round(seconds / best["product"], 2) for name, seconds in best.items() if name != "product"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--memory", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.memory:
        measure_memory(given.memory)
        return
    if not HAS_LXML:
        print("lxml is not installed: lxml.iterparse is left out")
    gc.disable()
    ratios = {shape.name: ratios_of(measure_shape(shape, given.rounds)) for shape in SHAPES}
    extra_mb, size_mb, seconds = extra_memory_mb()
    rate = f"{size_mb:.0f} MB in {seconds:.2f} s = {size_mb / seconds:.0f} MB/s"
    print(f"large: {rate}, {extra_mb:.0f} MB of extra memory")
    packed = zlib.compress(b"".join(document(SHAPES[0])), 6, 31)
    one, two = (max(files_per_second(packed, processes) for _ in range(3)) for processes in (1, 2))
    print(f"processes: one {one:.0f} files/s, two {two:.0f} files/s = {two / one:.2f} times")
    sizes = {"extra_rss_mb": round(extra_mb, 1), "two_processes": round(two / one, 2)}
    print(json.dumps({**ratios["r"], **sizes, "shapes": ratios}))


def _key(name: str) -> str:
    return f"vs_{name.replace(' ', '_').replace('.', '_')}"


if __name__ == "__main__":
    main()
