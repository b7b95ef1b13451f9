"""Measures a scan: how soon the files of the living are announced while some elements are dead.

`python -m bench.scan [--elements N] [--dead SHARE] [--latency-ms MS] [--listings N] [--files N] [--scans N]`: elements
with an address each, on one core. Those that are dead answer nothing until the connection times out (30 s). Without
latency, an element is a folder of this machine; with it, an element in memory that takes as many round trips as SFTP
does: 8 to connect and log in, 4 to list a directory. The first scan does not know which elements are dead, later ones
do. The sessions, the pool and the breakers are those of the scanner; Kafka is not used. The last line is a JSON object
with the seconds from the start of a scan to the announcement.
"""

import argparse
import json
import logging
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from threading import active_count
from time import perf_counter, process_time, sleep, time
from typing import Any, cast

from services.scanner.file_producer import FileProducer
from services.scanner.leader import Term
from services.scanner.ledger import FilesInFlight, KnownFile, LedgerFollower
from services.scanner.settings import ScannerSettings
from services.scanner.state import ScanSummary
from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.kafka.produce import Outgoing, Producer
from shared.remote.local import LocalSession
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Entry, Session
from shared.settings import Remote, System
from shared.topics import FILES_FOUND

CONNECT_ROUND_TRIPS, LISTING_ROUND_TRIPS = 8, 4
NAME = b"A20261125.0700-0715_%d.xml"


class DistantSession(LocalSession):
    """An element in memory, as far away as the benchmark says."""

    def __init__(self, files: int, latency_s: float) -> None:
        super().__init__()
        self.files, self.latency_s = files, latency_s
        sleep(CONNECT_ROUND_TRIPS * latency_s)

    def tree(self, directory: bytes, _depth: int, _leave: Collection[bytes] = ()) -> Iterator[tuple[bytes, Entry]]:
        sleep(LISTING_ROUND_TRIPS * self.latency_s)
        for number in range(self.files):
            yield directory, Entry(NAME % number, 1, 1_764_055_800)


@dataclass
class Announcements:
    """Stands for Kafka and the ledger; notes when files are announced, and remembers none of them."""

    began_s: float = 0.0
    files: dict[str, KnownFile] = field(default_factory=dict)
    at_s: list[float] = field(default_factory=list)

    def deliver(self, *messages: Outgoing) -> None:
        now_s = perf_counter() - self.began_s
        self.at_s += (now_s for message in messages if message.topic == FILES_FOUND.name)

    def in_flight(self, _system: str, _complete_on: object = ()) -> FilesInFlight:
        return FilesInFlight(0, 0, Counter())

    def record(self, status: object) -> None:
        pass


@dataclass
class Site:
    """The elements of the benchmark."""

    home: Path
    asked: argparse.Namespace

    def endpoints(self) -> dict[str, Endpoint]:
        number = self.asked.elements
        return {
            f"e{n}": Endpoint(
                name=f"e{n}",
                host=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
                protocol="local",
                directory=f"{self.home}/e{n}",
            )
            for n in range(number)
        }

    def create(self) -> None:
        """Writes the files of the living, if they are folders."""
        for n in range(self.asked.elements if not self.asked.latency_ms else 0):
            if not self.is_dead(n):
                (self.home / f"e{n}").mkdir()
                for number in range(self.asked.files):
                    (self.home / f"e{n}" / (NAME % number).decode()).write_bytes(b"content")

    def is_dead(self, n: int) -> bool:
        """Spreads the dead evenly."""
        return int((n + 1) * self.asked.dead) > int(n * self.asked.dead)

    def connect(self, endpoint: Endpoint, settings: Remote) -> Session:
        if self.is_dead(int(endpoint.name[1:])):
            sleep(settings.timeout_s)
            raise Unreachable(f"{endpoint!r}: no answer")
        if self.asked.latency_ms:
            return DistantSession(self.asked.files, self.asked.latency_ms / 1000)
        return LocalSession(endpoint.directories(time()))


@contextmanager
def one_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def measured(site: Site, scans: int) -> Iterator[dict[str, float]]:
    around, asked = Announcements(), site.asked
    settings = ScannerSettings(**({"listings": asked.listings} if asked.listings else {}))
    producer = FileProducer(
        System(name="4ga", in_flight_limit=2 * asked.elements * asked.files),
        settings,
        FtpServiceManager(Remote(), connect=site.connect, at_most_s=settings.listing_s),
        cast("Producer", around),
        cast("LedgerFollower", around),
    )
    endpoints = site.endpoints()
    for _ in range(scans):
        beats: list[float] = []
        around.at_s, around.began_s, cpu_s = [], perf_counter(), process_time()
        summary = producer.scan(endpoints, Term(1), lambda: beats.append(perf_counter()))  # noqa: B023 - called before the next round
        yield figures(around.at_s, beats, summary) | {"cpu_s": process_time() - cpu_s, "threads": float(active_count())}


def figures(at_s: list[float], beats: list[float], summary: ScanSummary) -> dict[str, float]:
    return {
        "announced": float(summary.announced),
        "unreachable": float(summary.unreachable),
        "not_tried": float(summary.not_tried),
        "p50_s": median(at_s),
        "p95_s": quantiles(at_s, n=20)[-1],
        "max_s": max(at_s),
        "scan_s": summary.took_s,
        "longest_without_heartbeat_s": max(after - before for before, after in pairwise(beats)),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--elements", type=int, default=10_000)
    arguments.add_argument("--dead", type=float, default=0.05)
    arguments.add_argument("--latency-ms", type=float, default=0.0)
    arguments.add_argument("--listings", type=int, default=0)
    arguments.add_argument("--files", type=int, default=1)
    arguments.add_argument("--scans", type=int, default=2)
    asked = arguments.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, one_core():
        site = Site(Path(home), asked)
        site.create()
        for number, scan in enumerate(measured(site, asked.scans), 1):
            print(f"scan {number}: " + ", ".join(f"{name} {value:,.1f}" for name, value in scan.items()), flush=True)
            found |= {f"{name}_{number}": round(value, 2) for name, value in scan.items() if name.endswith("_s")}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({**found, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
