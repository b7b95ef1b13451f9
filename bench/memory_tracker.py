"""Measures the tracker's memory and time: python -m bench.memory_tracker [--past 10000000] [--day 1000000]

It feeds a simulated ledger to the part of the tracker that reads all of it (cycle figures, leases, postponed files),
record by record as they come from Kafka, without Kafka. Each file has one record, the one that compaction leaves: it is
done. The past files are those of the days before, as many each day as in the last one. The sinks report their positions
after each cycle. At the end it measures looks: one cycle has changed, figures and states are computed. The last line is
JSON.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import process_time, time
from typing import Any, Final

import services.tracker.wiring  # noqa: F401 - the memory of a tracker includes its modules
from bench.process_tree import RESIDENT, memory_mb
from services.tracker.cycles import CycleStatistics
from services.tracker.leases import Leases
from services.tracker.postponed import PostponedFiles
from services.tracker.publisher import CyclePublisher
from shared.health import Heartbeat
from shared.kafka.record import Record
from shared.messages import FileStatus, SinkPosition, digest_of, partition_of
from shared.settings import System
from shared.topics import FILES_STATUS, counters_topic

PERIOD_S: Final = 900
CYCLES_A_DAY: Final = 96
LOOKS: Final = 20
TOPIC: Final = counters_topic("4ga").name
SINKS: Final = ("mysql", "clickhouse")
SYSTEM: Final = System(name="4ga", is_using_clickhouse=True, complete_on=SINKS)
NO_KAFKA: Any = None
"""Stands for a consumer and a producer; nothing is read or written here."""
DONE: Final = FileStatus(
    file_id="0" * 16, system="4ga", endpoint="ELEMENT", element="ELEMENT", path="/pm/C20261127.1200_ELEMENT.xml.gz",
    size=1111111111, mtime_s=1222222222, epoch=3, end_s=1333333333, stage="done", at_s=1444444444.5, topic=TOPIC,
    partition=15151, first_offset=16161616, last_offset=17171717, batches=3, rows=30, values=18181818,
    found_s=1999999991.5, fetched_s=1999999992.5, parsed_s=1999999993.5, stored_s=1999999994.5,
    managed_element="ELEMENT",
)  # fmt: skip


@dataclass
class Simulated:
    """A ledger of done files, one per element and period."""

    elements: int
    now_s: int
    offset: int = 0

    def __post_init__(self) -> None:
        names = (f"element-{n:05}" for n in range(self.elements))
        self.names = [(name.encode(), partition_of(name)) for name in names]
        self.template = DONE.encode()

    def records(self, cycle: int) -> Iterator[Record]:
        """Yields the records of one cycle, counted back from now, and the positions of the sinks after it."""
        end_s = self.now_s - (cycle + 2) * PERIOD_S
        for name, partition in self.names:
            self.offset += 3
            file_id = digest_of(b"%d %b" % (end_s, name)).encode()
            yield self._record(file_id, self._done(file_id, name, partition, end_s), partition, end_s)
        for sink in SINKS:
            for partition in range(FILES_STATUS.partitions):
                at = SinkPosition(sink=sink, topic=TOPIC, partition=partition, next_offset=self.offset + 3)
                yield self._record(f"{sink}/{TOPIC}/{partition}".encode(), at.encode(), partition, end_s)

    def _done(self, file_id: bytes, name: bytes, partition: int, end_s: int) -> bytes:
        odd = int(file_id[:6], 16) / 2**24
        written: dict[bytes, bytes] = {b"15151": b"%d" % partition}
        for mark, number in (
            (b"1111111111", 3000 + int(odd * 9999)), (b"1222222222", end_s + int(odd * 60)), (b"1333333333", end_s),
            (b"16161616", self.offset), (b"17171717", self.offset + 2), (b"18181818", 180 + int(odd * 99)),
        ):  # fmt: skip
            written[mark] = b"%d" % number
        for mark, after_s in ((b"1444444444.5", 101), (b"1999999991.5", 61), (b"1999999992.5", 70),
                              (b"1999999993.5", 80), (b"1999999994.5", 95)):  # fmt: skip
            written[mark] = b"%.3f" % (end_s + after_s + odd * 9)
        written |= {b"ELEMENT": name, b"0" * 16: file_id}  # last, as they may contain a mark
        value = self.template
        for mark, text in written.items():
            value = value.replace(mark, text)
        return value

    def _record(self, key: bytes, value: bytes, partition: int, end_s: int) -> Record:
        return Record(FILES_STATUS.name, partition, self.offset, key, value, end_s + 120.0)


def publisher(elements: list[str]) -> CyclePublisher:
    """Returns the part of the tracker that is measured, without Kafka."""
    return CyclePublisher(
        CycleStatistics(lambda _: SINKS, 900.0, 172_800.0), NO_KAFKA, {}, NO_KAFKA, lambda _: elements,
        Leases(lambda _: SINKS, 300.0), PostponedFiles(86_400.0), lambda: (SYSTEM,), Heartbeat(""),
    )  # fmt: skip


def measured(past: int, day: int) -> dict[str, Any]:
    """Returns the memory and the times of a tracker with so many files before the last day and in it."""
    ledger = Simulated(max(1, day // CYCLES_A_DAY), int(time()) // PERIOD_S * PERIOD_S)
    tracker = publisher([name.decode() for name, _ in ledger.names])
    before_mb = memory_mb(os.getpid(), RESIDENT)
    taken, cpu_s, cycles = 0, 0.0, (past + day) // ledger.elements
    for cycle in reversed(range(cycles)):
        records = list(ledger.records(cycle))
        began_s = process_time()
        tracker._take(records)
        tracker.statistics.due(time())
        cpu_s += process_time() - began_s
        taken += len(records)
    resident_mb = memory_mb(os.getpid(), RESIDENT)
    kept = sum(len(cycle) for cycle in tracker.statistics.cycles.values())
    assert kept == len(tracker.statistics.cycles) * ledger.elements, "a record was not valid"
    return {
        "files": cycles * ledger.elements, "files_in_cycles": kept, "rss_mb": round(resident_mb, 1),
        "bytes_per_kept_file": round((resident_mb - before_mb) * 2**20 / max(1, kept), 1), "take_s": round(cpu_s, 1),
        "take_us_per_record": round(cpu_s / taken * 1e6, 2), "look_ms": round(look_ms(tracker), 2),
    }  # fmt: skip


def look_ms(tracker: CyclePublisher) -> float:
    """Returns the CPU time of one look, in which one closed cycle has changed."""
    statistics = tracker.statistics
    newest = max(cycle for cycle in statistics.cycles if cycle[1] < time() - 1000)
    began_s = process_time()
    for _ in range(LOOKS):
        statistics.changed.add(newest)
        for figures in statistics.figures_of(statistics.due(time()), tracker.expected, time()):
            assert replace(figures, told_s=0.0).encode()
        statistics.states("4ga", SINKS)
        list(tracker.leases.ended(time()))
        list(tracker.postponed.ended(time()))
    return (process_time() - began_s) / LOOKS * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--past", type=int, default=10_000_000)
    parser.add_argument("--day", type=int, default=1_000_000)
    arguments = parser.parse_args()
    found = measured(arguments.past, arguments.day)
    for figure, number in found.items():
        print(f"{figure:20} {number:>14,}")
    print(json.dumps(found))
