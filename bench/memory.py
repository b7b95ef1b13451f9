"""Measures the memory that a part of pmflow needs after years: python -m bench.memory --part scanner

Past files are fed to the part, then those of the last day, as records of the ledger that are made up on the fly; no
server is needed. Each case runs in a process of its own. The last line is JSON.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from gc import collect
from hashlib import blake2b
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from time import process_time

import orjson

from bench.process_tree import PEAK, RESIDENT, memory_mb
from shared.kafka.record import Record
from shared.messages import PARTITIONS, FileStatus, Stage
from shared.topics import FILES_STATUS, counters_topic

PARTS = {"scanner": "bench.memory_scanner"}
"""Part -> its module, which has CASES: a function by the name of the case. A new part is one line here."""
ELEMENTS = 3_000
TOGETHER = ELEMENTS // PARTITIONS
"""Files of one partition that are under way at the same time."""
LIFE: tuple[Stage, ...] = ("found", "fetching", "parsed", "done")
"""The statuses of a file that compaction has not removed yet."""
BATCH = 10_000
"""Records that a reader of the ledger takes at once."""


@dataclass(frozen=True, slots=True)
class Load:
    """The files that a simulated ledger has seen."""

    past: int
    """Files of earlier days."""
    day: int
    """Files of the last day."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The result of one case."""

    files: int
    records: int
    taking_s: float
    """CPU time in the code of the part, without that of making up records; the machine may be busy with other work."""
    start_mb: float
    """Resident memory before the first record."""
    end_mb: float
    peak_mb: float

    @property
    def bytes_per_file(self) -> float:
        return (self.end_mb - self.start_mb) * 2**20 / self.files


Take = Callable[[Sequence[Record]], object]
Case = Callable[[Load], Figures]


def fed(take: Take, records: Iterator[Record], files: int) -> Figures:
    """Feeds records to a part and measures it; nothing but the part must grow meanwhile."""
    start_mb, taking_s, count = memory_mb(os.getpid(), RESIDENT), 0.0, 0
    for some in batches(records):
        began_s = process_time()
        take(some)
        taking_s += process_time() - began_s
        count += len(some)
    collect()
    return Figures(files, count, taking_s, start_mb, memory_mb(os.getpid(), RESIDENT), memory_mb(os.getpid(), PEAK))


def batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while some := list(islice(records, BATCH)):
        yield some


def file_id(number: int) -> str:
    """Returns the identity of a made-up file, spread as evenly as real ones."""
    return blake2b(b"%d" % number, digest_size=8).hexdigest()


def statuses(numbers: range, *stages: Stage, at_s: float) -> Iterator[Record]:
    """Yields the statuses of files: those of one partition together, as Kafka sends them."""
    templates = [_template(stage, at_s) for stage in stages]
    for first in range(numbers.start, numbers.stop, TOGETHER):
        partition = first // TOGETHER % PARTITIONS
        ids = [(n, file_id(n).encode()) for n in range(first, min(first + TOGETHER, numbers.stop))]
        for template in templates:
            for n, key in ids:
                value = template % (key, n % ELEMENTS, n % ELEMENTS, n % ELEMENTS, n, n)
                yield Record(FILES_STATUS.name, partition, n, key, value, at_s)


def tombstones(numbers: range, at_s: float) -> Iterator[Record]:
    """Yields the records that remove files from the ledger."""
    for n in numbers:
        yield Record(FILES_STATUS.name, n % PARTITIONS, n, file_id(n).encode(), None, at_s)


def _template(stage: Stage, at_s: float) -> bytes:
    """Returns an encoded status with places for id, endpoint, element, number in the path, and offsets."""
    status = FileStatus(
        file_id="ID", system="4ga", endpoint="element-NUMBER", element="element-NUMBER",
        path="/pm/A20261127.1115+0100-1130+0100_element-NUMBER.xml.gz", size=1_234, mtime_s=int(at_s), epoch=3,
        end_s=int(at_s), found_s=at_s, stage=stage, at_s=at_s,
    )  # fmt: skip
    raw = status.encode().replace(b"%", b"%%").replace(b'"ID"', b'"%b"').replace(b"NUMBER", b"%04d")
    topic = b'"topic":"%b","partition":5,"first_offset":%%d,"last_offset":%%d' % counters_topic("4ga").name.encode()
    return raw.replace(b'"topic":"","partition":-1,"first_offset":-1,"last_offset":-1', topic)


def _measured(part: str, case: str, load: Load) -> Figures:
    cases: Mapping[str, Case] = import_module(PARTS[part]).CASES
    return cases[case](load)


def main() -> None:
    """Runs the cases of the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--past", type=int, default=10_000_000, help="files of earlier days")
    parser.add_argument("--day", type=int, default=1_000_000, help="files of the last day")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    arguments = parser.parse_args()
    load, results = Load(arguments.past, arguments.day), dict[str, float]()
    print(f"{'part, case':40} {'files':>11} {'records':>11} {'MB':>6} {'peak':>6} {'B/file':>7} {'s':>6} {'rec./s':>9}")
    for part in arguments.part or PARTS:
        for case in import_module(PARTS[part]).CASES:
            with get_context("spawn").Pool(1) as process:
                found = process.apply(_measured, (part, case, load))
            rate = found.records / found.taking_s
            sizes = f"{found.end_mb:6.0f} {found.peak_mb:6.0f} {found.bytes_per_file:7.1f}"
            counts = f"{found.files:11,} {found.records:11,}"
            print(f"{part + ', ' + case:40} {counts} {sizes} {found.taking_s:6.1f} {rate:9,.0f}", flush=True)
            name = re.sub(r"\W+", "_", f"{part}_{case}")
            results |= {f"{name}_mb": round(found.peak_mb), f"{name}_s": round(found.taking_s, 1)}
            results[f"{name}_records_s"] = round(rate)
    print(orjson.dumps(results).decode())


if __name__ == "__main__":
    main()
