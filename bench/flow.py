"""Measures the whole flow on real servers: python -m bench.flow --load small|small-local|large|burst

Elements get a first burst of files before fresh services start (cold), then a second one (warm). The files are made
before a burst is measured; in a warm one they appear together two seconds before a scan. The rate is files per second
from the first announcement to the last status `done`; both sinks must have stored a file before it is done. CPU is that
of each process with its children, from the appearance of the files until all are done and the scans of the load (three
for `burst`) have ended. The last line is JSON: `files_s` and `values_s` of the warm burst, the same with the prefix
`cold_`, and more.

Loads of up to MOST_COMPARED values are verified value by value in both databases. For larger ones, the rows of each
element and group are counted, and the values of each counter are counted and added up, again in both.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from urllib.request import urlopen

from bench.flow_files import (
    GP_S,
    LOADS,
    SYSTEMS,
    Load,
    period_ends,
    publish,
    seconds_until,
    stage,
    write_local_inventory,
)
from bench.flow_sums import Sums, differences, in_clickhouse, in_mysql
from bench.flow_watch import CannotSucceed, FileKey, Ledger, Progress, log_tails
from bench.process_tree import cpu_s, peak_mb
from shared import topics
from shared.kafka import admin
from shared.kafka.consume import follow_all
from shared.messages import FileStatus
from shared.settings import SERVICES, Settings
from tools.cli.dev.demo import wait_for_inventory
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import verify
from tools.devstack import stack as devstack
from tools.simulator.elements import SimulatedElements

MOST_COMPARED = 3_000_000
BEFORE_SCAN_S = 2.0
"""Files of a warm burst appear this long before a scan."""
FIRST_END_S = 1_780_000_200
"""End of the first period: a multiple of GP_S."""


@dataclass(frozen=True, slots=True)
class Burst:
    """The figures of one burst."""

    files: int
    values: int
    took_s: float
    cpu_s: Mapping[str, float]
    """Process -> CPU seconds during the burst."""
    counted_s: float
    """Time during which CPU was counted."""
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

    @property
    def product_s(self) -> float:
        """CPU seconds of the services."""
        return product_of(self.cpu_s)


def product_of(spent_s: Mapping[str, float]) -> float:
    """Returns what the services spent of the CPU seconds by process."""
    return sum(spent_s.get(service, 0.0) for service in SERVICES)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value below which a share of the values lies; 0 if there is none.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
    3.0
    """
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def times_of(
    statuses: Mapping[FileKey, FileStatus], written_s: Mapping[FileKey, float]
) -> tuple[float, Sequence[float]]:
    """Returns how long a burst took from the first announcement, and the time of each file from written to stored."""
    found_s = min(status.found_s for status in statuses.values())
    took_s = max(status.at_s for status in statuses.values()) - found_s
    return took_s, [status.stored_s - written_s[key] for key, status in statuses.items() if status.stored_s]


def spent_between(before_s: Mapping[str, float], now_s: Mapping[str, float]) -> dict[str, float]:
    """Returns the CPU seconds between two readings; a process that was not there had spent none.

    >>> spent_between({"a": 1.0}, {"a": 3.5, "b": 2.0})
    {'a': 2.5, 'b': 2.0}
    """
    return {name: spent_s - before_s.get(name, 0.0) for name, spent_s in now_s.items()}


@dataclass
class Flow:
    """The stack, the services and the elements of one measurement."""

    load: Load
    pipeline: Pipeline
    elements: SimulatedElements
    settings: Settings
    ledger: Ledger
    next_end_s: int = FIRST_END_S
    written: Sums = field(default_factory=Sums)
    """Sums over all values written so far."""

    def processes(self) -> dict[str, int]:
        """Returns the process id of each service and server."""
        return {process.name: process.pid for process in devstack.running_processes(self.pipeline.home)}

    def cpu(self) -> dict[str, float]:
        """Returns the CPU seconds so far, by process."""
        return {name: cpu_s(pid) for name, pid in self.processes().items()}

    def idle(self, seconds: float) -> dict[str, float]:
        """Returns the CPU seconds for each second in which nothing happens, by process.

        It ends before the files of a burst would appear, so that no scan is included if scans are rare enough.
        """
        sleep(max(0.0, seconds_until(time(), self.load.scan_s, BEFORE_SCAN_S) - seconds - 1.0))
        before_s, began_s = self.cpu(), monotonic()
        sleep(seconds)
        took_s = monotonic() - began_s
        return {name: spent_s / took_s for name, spent_s in spent_between(before_s, self.cpu()).items()}

    def connections(self) -> float:
        """Returns how many connections scanner and fetcher have opened so far."""
        return sum(self.metric(service, "pmflow_host_sessions_opened_total") for service in ("scanner", "fetcher"))

    def scans(self) -> float:
        """Returns how many scans of a system have ended so far.

        It asks for this metric only: a page with those of a thousand hosts takes 0.1 s of the scanner's CPU.
        """
        return self.metric("scanner", "pmflow_scan_seconds_count", "?name[]=pmflow_scan_seconds_count")

    def metric(self, service: str, name: str, query: str = "") -> float:
        """Returns the sum of a metric of a service over all labels; 0 while the service does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.pipeline.ports[service]}/metrics{query}", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def burst(self, *, cold: bool) -> Burst:
        """Runs one burst; in a cold one the services start after the files are written."""
        ends = period_ends(self.next_end_s + (self.load.files - 1) * GP_S, self.load.files)
        self.next_end_s = ends[-1] + GP_S
        files, sums = stage(self.elements, self.pipeline.home / "staged", ends)
        self.written.add(sums)
        opened = self.connections()
        if not cold:
            sleep(seconds_until(time(), self.load.scan_s, BEFORE_SCAN_S))
        scans, before_s, began_s = self.scans(), self.cpu(), monotonic()
        written_s = publish(files)
        if cold:
            self.pipeline.start()
        statuses = self._done(written_s, scans + self.load.scans * len(SYSTEMS))
        spent_s, counted_s = spent_between(before_s, self.cpu()), monotonic() - began_s
        took_s, latencies_s = times_of(statuses, written_s)
        opened = self.connections() - opened
        return Burst(len(files), sums.values, took_s, spent_s, counted_s, latencies_s, opened)

    def _done(self, wanted: Collection[FileKey], scans: float) -> Mapping[FileKey, FileStatus]:
        """Returns the last statuses of the files as soon as all are done and so many scans have ended.

        Raises:
            CannotSucceed: a service has exited, files are given up, or nothing changes any more.
        """
        progress = Progress(monotonic())
        while True:
            found = self.ledger.newest(wanted)
            if ended := self.pipeline.ended((*devstack.COMPONENTS, *SERVICES)):
                raise CannotSucceed(log_tails(ended))
            all_done = len(found) == len(wanted) and all(status.stage == "done" for status in found.values())
            if not all_done:
                progress.check(wanted, found, monotonic())
            elif self.load.scans == 1 or self.scans() >= scans:
                return found
            self.ledger.read()

    def wrong(self) -> list[str]:
        """Returns what differs between the stored values and the written ones; empty if all are right."""
        if self.written.values > MOST_COMPARED:
            stored = {"mysql": in_mysql(self.settings), "clickhouse": in_clickhouse(self.settings)}
            return [f"{sink} {line}" for sink, found in stored.items() for line in differences(self.written, found)]
        outcomes = verify.settled_outcomes(self.settings, self.pipeline.simulator, within_s=30)
        return [str(outcome) for outcome in outcomes if not outcome.right]


@contextmanager
def running(load: Load, home: Path) -> Iterator[Flow]:
    """Starts servers and elements; at the end, everything is stopped."""
    try:
        stack = devstack.up(home)
        elements = SimulatedElements(stack.simulator, load.sizes, load.shape, in_place_share=0.0)
        ports = devstack.free_ports(dict.fromkeys(SERVICES, 0))
        pipeline = Pipeline(home, stack, overrides(load), ports)
        settings = pipeline.configure()
        start_elements(load, pipeline, elements)
        admin.provision(settings.kafka, topics.provisioned(SYSTEMS))
        ledger = Ledger(follow_all(settings.kafka, topics.FILES_STATUS))
        yield Flow(load, pipeline, elements, settings, ledger)
        ledger.reader.close()
    finally:
        devstack.down(home, timeout_s=10)


def overrides(load: Load) -> dict[str, dict[str, object]]:
    """Returns the sections of the configuration that the measurement needs."""
    system = {"isUsingClickhouse": True, "complete-on": ["mysql", "clickhouse"], "in-flight-limit": 100_000}
    return {
        "spring": {"pm": {"cron": {"schedule-scan": load.schedule}, "immediate-run-delay": 1}},
        "scanner": {"settle_s": 1.0},
        **dict.fromkeys(SYSTEMS, system),
    }


def start_elements(load: Load, pipeline: Pipeline, elements: SimulatedElements) -> None:
    """Starts the server of the elements, or lists their folders in the inventory where they are local."""
    if load.protocol == "local":
        write_local_inventory(elements)
        return
    sizes = ",".join(f"{name}:{many}" for name, many in load.sizes.items())
    wait_for_inventory(pipeline, pipeline.simulate("--systems", sizes, "--serve-only"))


def report(name: str, burst: Burst) -> None:
    """Prints the figures of one burst."""
    spent_s, latencies_s = sum(burst.cpu_s.values()), burst.latencies_s
    print(
        f"\n{name}: {burst.files:,} files, {burst.values:,} values in {burst.took_s:.1f} s: "
        f"{burst.files_s:,.0f} files/s, {burst.values_s:,.0f} values/s; "
        f"written to stored p50 {percentile(latencies_s, 0.5):.1f} s, p95 {percentile(latencies_s, 0.95):.1f} s; "
        f"{burst.connections / burst.files:.2f} connections a file; CPU counted for {burst.counted_s:.0f} s"
    )
    print(f"{'process':14} {'CPU ms/file':>12} {'CPU s/million values':>22}")
    rows = sorted(burst.cpu_s.items(), key=lambda item: -item[1])
    for process, cpu in (*rows, ("all services", burst.product_s), ("everything", spent_s)):
        print(f"{process:14} {1000 * cpu / burst.files:12.2f} {1e6 * cpu / burst.values:22.2f}")


def figures(burst: Burst, prefix: str = "") -> dict[str, float]:
    """Returns the figures of one burst for the last line."""
    found = {
        "files_s": burst.files_s,
        "values_s": burst.values_s,
        "product_ms_per_file": 1000 * burst.product_s / burst.files,
        "ms_per_file": 1000 * sum(burst.cpu_s.values()) / burst.files,
        "s_per_million_values": 1e6 * sum(burst.cpu_s.values()) / burst.values,
        "p95_s": percentile(burst.latencies_s, 0.95),
    }
    return {prefix + name: round(value, 2) for name, value in found.items()}


def idle_ms(burst: Burst, idle: Mapping[str, float]) -> float:
    """Returns the CPU milliseconds for each file that the services would have spent without any file."""
    return 1000 * product_of(idle) * burst.counted_s / burst.files


def load_of(arguments: Sequence[str] | None) -> Load:
    """Returns the load that the command line names, with its size changed by the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--load", choices=LOADS, default="small-local")
    for name in ("elements", "files", "groups", "counters", "cells"):
        parser.add_argument(f"--{name}", type=int)
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    named = LOADS[given.pop("load")]
    return Load(**{name: given.get(name, getattr(named, name)) for name in Load.__dataclass_fields__})


def main() -> None:
    """Runs both bursts and prints their figures."""
    load = load_of(None)
    with tempfile.TemporaryDirectory(prefix="pmflow-flow-") as home, running(load, Path(home)) as flow:
        try:
            cold = flow.burst(cold=True)
            idle = flow.idle(min(15.0, load.scan_s / 2))
            warm = flow.burst(cold=False)
        except CannotSucceed as error:
            sys.exit(str(error))
        report("cold", cold)
        report("warm", warm)
        print(f"\nidle, the services use {product_of(idle):.3f} cores: {idle_ms(warm, idle):.2f} ms of each warm file")
        peaks = {name: peak_mb(pid) for name, pid in flow.processes().items()}
        print("\npeak memory, MB:", ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(peaks.items())))
        wrong = flow.wrong()
    compared = "value" if flow.written.values <= MOST_COMPARED else "sum"
    print("\n".join(wrong[:20]) or f"verified: every {compared} in both databases is right")
    last = figures(warm) | figures(cold, "cold_") | {"idle_ms_per_file": round(idle_ms(warm, idle), 2)}
    print(json.dumps(last | {"verified": not wrong}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
