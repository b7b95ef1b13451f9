"""Measures the whole flow on real servers: python -m bench.flow --load small|small-local|large|burst

Elements get a first burst of files before fresh services start (cold), then a second one (warm). The rate is files per
second from the first announcement to the last status `done`; both sinks must have stored a file before it is done. CPU
is that of each process with its children, during the burst. The last line is JSON: `files_s` and `values_s` of the warm
burst, the same with the prefix `cold_`, and more. The simulator's CPU does not include the writing of files.

Loads of up to MOST_COMPARED values are verified value by value in both databases. For larger ones only the number of
values that the parser counted is checked, not what the databases hold; `verified` in the JSON is then null.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

import yaml

from bench.process_tree import cpu_s, peak_mb
from shared import topics
from shared.kafka import admin
from shared.kafka.consume import Consumer, follow_all
from shared.ledger import decode_status
from shared.messages import BadMessage, FileStatus
from shared.settings import SERVICES, Settings
from shared.topics import FILES_STATUS
from tools.cli.dev.demo import wait_for_inventory
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import verify
from tools.devstack import stack as devstack
from tools.simulator.elements import SimulatedElements
from tools.simulator.generate import Shape
from tools.simulator.truth import Written

MOST_COMPARED = 5_000_000
LONGEST_S = 900.0
SYSTEMS = ("4ga", "5ga")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The files of one burst."""

    elements: int
    files: int
    """Files of each element in a burst."""
    cells: int = 3
    groups: int = 3
    counters: int = 20
    protocol: str = "sftp"
    scan: str = "*/10 * * * * *"
    """Cron of the scans."""


LOADS = {
    "small": Load(elements=1000, files=4),
    "small-local": Load(elements=1000, files=4, protocol="local"),
    "large": Load(elements=40, files=14, cells=35, groups=7, counters=200),
    "burst": Load(elements=1000, files=1, scan="*/20 * * * * *"),
}


@dataclass(frozen=True, slots=True)
class Burst:
    """The figures of one burst."""

    files: int
    values: int
    took_s: float
    cpu_s: Mapping[str, float]
    """Process -> CPU seconds during the burst."""
    latencies_s: Sequence[float]
    """Time of each file from written to stored."""
    connections: float
    """Connections opened to elements during the burst."""

    @property
    def files_s(self) -> float:
        return self.files / self.took_s

    @property
    def values_s(self) -> float:
        return self.values / self.took_s


class Ledger:
    """Follows the ledger and keeps the newest status of each file."""

    def __init__(self, reader: Consumer) -> None:
        self.reader = reader
        self.files: dict[str, FileStatus] = {}

    def read(self) -> None:
        """Takes what has arrived, or waits half a second for it."""
        for record in self.reader.poll(5000, 0.5):
            with suppress(BadMessage):
                status = decode_status(record.value) if record.value else None
                if isinstance(status, FileStatus):
                    self.files[status.file_id] = status


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value below which a share of the values lies; 0 if there is none.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
    3.0
    """
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def burst_of(statuses: Sequence[FileStatus], written: Mapping[tuple[str, str], float]) -> tuple[float, list[float]]:
    """Returns how long the files took, and the time of each from written to stored.

    Args:
        statuses: the last status of each file.
        written: endpoint and file name -> time at which it was written.
    """
    took_s = max(s.at_s for s in statuses) - min(s.found_s for s in statuses)
    names = ((s, (s.endpoint, s.path.rpartition("/")[2])) for s in statuses)
    return took_s, [s.stored_s - written[name] for s, name in names if s.stored_s and name in written]


@dataclass
class Flow:
    """The stack, the services and the elements of one measurement."""

    load: Load
    pipeline: Pipeline
    elements: SimulatedElements
    settings: Settings
    ledger: Ledger
    next_end_s: int

    def write(self) -> dict[tuple[str, str], float]:
        """Writes the files of a burst; returns endpoint and file name -> time."""
        written: dict[tuple[str, str], float] = {}
        for _ in range(self.load.files):
            self.elements.write_cycle(self.next_end_s)
            self.next_end_s += self.elements.shape.gp_s
            lines = (line for line in self.elements.written if isinstance(line, Written))
            written |= {(line.element, line.file().name): line.written_s for line in lines}
        return written

    def processes(self) -> dict[str, int]:
        """Returns the process id of each service and server."""
        return {process.name: process.pid for process in devstack.running_processes(self.pipeline.home)}

    def cpu(self) -> dict[str, float]:
        """Returns the CPU seconds so far, by process."""
        return {name: cpu_s(pid) for name, pid in self.processes().items()}

    def connections(self) -> float:
        """Returns how many connections scanner and fetcher have opened so far."""
        ports = (self.pipeline.ports[service] for service in ("scanner", "fetcher"))
        return sum(metric(port, "pmflow_host_sessions_opened_total") for port in ports)

    def burst(self, *, cold: bool) -> Burst:
        """Runs one burst; in a cold one the services start after the files are written."""
        known, cpu_before, opened_before = set(self.ledger.files), self.cpu(), 0.0 if cold else self.connections()
        values_before = self.elements.values
        written = self.write()
        if cold:
            self.pipeline.start()
        self._wait(known, len(written))
        took_s, latencies_s = burst_of(self.new(known), written)
        spent = {name: now_s - cpu_before.get(name, 0.0) for name, now_s in self.cpu().items()}
        values = self.elements.values - values_before
        return Burst(len(written), values, took_s, spent, latencies_s, self.connections() - opened_before)

    def _wait(self, known: set[str], files: int) -> None:
        """Follows the ledger until so many new files are done; exits if a service ends or it takes too long."""
        until_s = monotonic() + LONGEST_S
        while (stages := Counter(status.stage for status in self.new(known)))["done"] < files:
            ended = self.pipeline.ended(SERVICES)
            if ended or monotonic() > until_s:
                sys.exit(f"{files} files were written, found in the ledger: {dict(stages)}; services ended: {ended}")
            self.ledger.read()

    def new(self, known: set[str]) -> list[FileStatus]:
        """Returns the statuses of the files that were not known before."""
        return [status for file_id, status in self.ledger.files.items() if file_id not in known]

    def verified(self) -> str:
        """Returns how the stored values compare with the written ones; empty if all are right."""
        if self.elements.values > MOST_COMPARED:
            counted = sum(status.values for status in self.ledger.files.values())
            return "" if counted == self.elements.values else f"{counted:,} of {self.elements.values:,} values stored"
        outcomes = verify.settled_outcomes(self.settings, self.pipeline.simulator, within_s=30)
        return "; ".join(str(outcome) for outcome in outcomes if not outcome.right)


def metric(port: int, name: str) -> float:
    """Returns the sum of a metric of a service over all labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@contextmanager
def running(load: Load, home: Path) -> Iterator[Flow]:
    """Starts servers and elements; at the end, everything is stopped."""
    try:
        stack = devstack.up(home)
        sizes = dict.fromkeys(SYSTEMS, load.elements // len(SYSTEMS))
        shape = Shape(cells=load.cells, groups=load.groups, counters=load.counters)
        elements = SimulatedElements(stack.simulator, sizes, shape, in_place_share=0.0)
        ports = devstack.free_ports(dict.fromkeys(SERVICES, 0))
        pipeline = Pipeline(home, stack, overrides(load, elements), ports)
        settings = pipeline.configure()
        start_elements(load, pipeline, elements)
        admin.provision(settings.kafka, topics.provisioned(SYSTEMS))
        ledger = Ledger(follow_all(settings.kafka, FILES_STATUS))
        gp_s = shape.gp_s
        yield Flow(load, pipeline, elements, settings, ledger, 1_780_000_000 // gp_s * gp_s)
        ledger.reader.close()
    finally:
        devstack.down(home, timeout_s=10)


def overrides(load: Load, elements: SimulatedElements) -> dict[str, dict[str, object]]:
    """Returns the sections of the configuration that the measurement needs."""
    system = {"isUsingClickhouse": True, "complete-on": ["mysql", "clickhouse"], "in-flight-limit": 100_000}
    return {
        "spring": {"pm": {"cron": {"schedule-scan": load.scan}, "immediate-run-delay": 1}},
        "scanner": {"settle_s": 1.0},
        **dict.fromkeys(elements.systems, system),
    }


def start_elements(load: Load, pipeline: Pipeline, elements: SimulatedElements) -> None:
    """Starts the server of the elements, or lists their folders in the inventory where they are local."""
    sizes = ",".join(f"{name}:{many}" for name, many in elements.systems.items())
    if load.protocol == "sftp":
        wait_for_inventory(pipeline, pipeline.simulate("--systems", sizes, "--serve-only"))
        return
    folder = pipeline.simulator / "inventory"
    folder.mkdir(exist_ok=True)
    for system in elements.systems:
        entries = [
            {"name": name, "protocol": "local", "host": name, "directory": str(elements.folder(system, name))}
            for of, name in elements.names()
            if of == system
        ]
        (folder / f"{system}.yaml").write_text(yaml.safe_dump(entries))


def report(name: str, burst: Burst) -> None:
    """Prints the figures of one burst."""
    spent, wait_s = sum(burst.cpu_s.values()), burst.latencies_s
    print(
        f"\n{name}: {burst.files:,} files, {burst.values:,} values in {burst.took_s:.1f} s: "
        f"{burst.files_s:,.0f} files/s, {burst.values_s:,.0f} values/s; "
        f"written to stored p50 {percentile(wait_s, 0.5):.1f} s, p95 {percentile(wait_s, 0.95):.1f} s; "
        f"{burst.connections / burst.files:.2f} connections a file"
    )
    print(f"{'process':14} {'CPU ms/file':>12} {'CPU s/million values':>22}")
    for process, cpu in (*sorted(burst.cpu_s.items(), key=lambda item: -item[1]), ("all", spent)):
        print(f"{process:14} {1000 * cpu / burst.files:12.2f} {1e6 * cpu / burst.values:22.2f}")


def product_ms(burst: Burst) -> float:
    """Returns the CPU milliseconds of the services for each file."""
    return 1000 * sum(burst.cpu_s.get(service, 0.0) for service in SERVICES) / burst.files


def main() -> None:
    """Runs both bursts and prints their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--load", choices=LOADS, default="small-local")
    for name in ("elements", "files", "groups", "counters", "cells"):
        parser.add_argument(f"--{name}", type=int)
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    named = LOADS[given.pop("load")]
    load = Load(**{name: given.get(name, getattr(named, name)) for name in Load.__dataclass_fields__})
    with tempfile.TemporaryDirectory(prefix="pmflow-flow-") as home, running(load, Path(home)) as flow:
        bursts = {"cold": flow.burst(cold=True), "warm": flow.burst(cold=False)}
        for name, burst in bursts.items():
            report(name, burst)
        peaks = {name: peak_mb(pid) for name, pid in flow.processes().items()}
        print("\npeak memory, MB:", ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(peaks.items())))
        wrong = flow.verified()
    cold, warm = bursts["cold"], bursts["warm"]
    compared = flow.elements.values <= MOST_COMPARED
    right = "every value is right" if compared else "the parser counted every value; the databases were not compared"
    print(f"verified: {wrong or right}")
    figures = {"files_s": warm.files_s, "values_s": warm.values_s, "product_ms_per_file": product_ms(warm)}
    figures |= {
        "cold_files_s": cold.files_s,
        "cold_values_s": cold.values_s,
        "cold_product_ms_per_file": product_ms(cold),
    }
    print(
        json.dumps(
            {name: round(value, 2) for name, value in figures.items()} | {"verified": not wrong if compared else None}
        )
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
