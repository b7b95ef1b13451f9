"""Measures how many files per second one tracker completes: python -m bench.tracker [--files 20000]

It prints two figures: the decisions alone, and the whole service on a real broker and one core. Each file has four
records in the ledger (found, fetching, parsed, done) and some positions, and causes one command and two table changes.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

from bench.process_tree import own_cpu_s
from services.tracker.tracker import FileProcessingTracker, TrackedFiles
from shared.kafka import admin
from shared.kafka.consume import Consumer
from shared.kafka.produce import Outgoing, Producer
from shared.messages import FileStatus, Settle, SinkPosition, partition_of
from shared.sink_positions import SinkPositions
from shared.topics import FILES_SETTLE, FILES_STATUS, counters_topic, provisioned
from tools.devstack import stack as devstack

TOPIC = counters_topic("4ga").name
CHUNK = 500
"""Files between two positions: about those of a second."""


def records(files: int) -> list[tuple[int, str, FileStatus | SinkPosition]]:
    """Returns partition, key and record: all stages of every file, with positions in between."""
    written: list[tuple[int, str, FileStatus | SinkPosition]] = []
    for first in range(0, files, CHUNK):
        statuses = [_parsed(n) for n in range(first, first + CHUNK)]
        written += [(s.partition, s.file_id, replace(s, stage="found")) for s in statuses]
        written += [(s.partition, s.file_id, replace(s, stage="fetching")) for s in statuses]
        written += [(s.partition, s.file_id, s) for s in statuses]
        for p in range(FILES_STATUS.partitions):
            position = SinkPosition(sink="mysql", topic=TOPIC, partition=p, next_offset=first + CHUNK)
            written.append((p, f"mysql/{TOPIC}/{p}", position))
        written += [(s.partition, s.file_id, replace(s, stage="done")) for s in statuses]
    return written


def _parsed(n: int) -> FileStatus:
    element = f"e{n % 500}"
    return FileStatus(
        file_id=f"{n:016x}", system="4ga", endpoint=element, element=element, path=f"/pm/A{n}.xml.gz", size=1000,
        mtime_s=1, epoch=1, stage="parsed", at_s=1.0, topic=TOPIC, partition=partition_of(element), last_offset=n,
        values=1000,
    )  # fmt: skip


def decisions(files: int) -> float:
    """Returns files per second of the pure part."""
    tracker = FileProcessingTracker(lambda _: ("mysql",), TrackedFiles({}), SinkPositions())
    written = records(files)
    began_s = process_time()
    commands = 0
    for _, _, record in written:
        decided = tracker.on_status(record, 0.0) if isinstance(record, FileStatus) else tracker.on_position(record, 0.0)
        commands += len(list(decided))
    assert commands == files, commands
    return files / (process_time() - began_s)


def whole(files: int, home: Path) -> tuple[float, float]:
    """Returns files per second from the first command to the last: by the clock, and by the CPU time of the tracker.

    The second figure does not depend on how busy the machine is.
    """
    stack = devstack.up(home)
    try:
        admin.provision(stack.kafka, provisioned(["4ga"]))
        producer = Producer(stack.kafka)
        written = [Outgoing(FILES_STATUS.name, p, key, record.encode()) for p, key, record in records(files)]
        producer.deliver(*written)
        reader = Consumer(stack.kafka, "bench")
        reader.subscribe([FILES_SETTLE.name])
        env = {**os.environ, "PMFLOW_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers}
        tracker = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-m", "services.tracker"], env=env)
        commanded: set[str] = set()
        first_s = first_cpu_s = 0.0
        while len(commanded) < files:
            for record in reader.poll(1000, 0.1):
                if not first_s:
                    first_s, first_cpu_s = perf_counter(), own_cpu_s(tracker.pid)
                commanded.add(Settle.decode(record.value or b"").file_id)
        took_s, took_cpu_s = perf_counter() - first_s, own_cpu_s(tracker.pid) - first_cpu_s
        tracker.send_signal(signal.SIGTERM)
        tracker.wait(30)
        reader.close()
        producer.close()
        return files / took_s, files / took_cpu_s
    finally:
        devstack.down(home)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=20_000)
    arguments = parser.parse_args()
    print(f"decisions alone  {decisions(arguments.files):10,.0f} files/s")
    with tempfile.TemporaryDirectory() as folder:
        by_clock, by_cpu = whole(arguments.files, Path(folder))
        print(f"with Faust       {by_clock:10,.0f} files/s, {by_cpu:,.0f} files per second of CPU")
