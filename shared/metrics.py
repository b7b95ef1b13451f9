"""Metrics: all that the services count, declared in one place; served beside their health. Only here prometheus.

Labels are bounded by the configuration: systems, sinks, topics, hosts of the inventory, and words that stand in the
code. Never a file, an element or a message's text.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from operator import attrgetter
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.health import not_ready, stale
from shared.settings import BadSettings, Settings

M = TypeVar("M", Counter, Gauge, Histogram)
SIZES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass(frozen=True, slots=True)
class Declared:
    """What the reference tells of a metric."""

    services: str
    kind: str
    name: str
    about: str
    labels: tuple[str, ...]
    metric: Any = field(default=None, compare=False)
    """That counts; none for those read at each scrape."""


DECLARED: list[Declared] = []


def _metric(kind: type[M], services: str, name: str, about: str, *labels: str, **more: Any) -> M:
    metric = kind(name, about, labels, namespace="pmflow", registry=None, **more)
    DECLARED.append(Declared(services, kind.__name__.lower(), f"pmflow_{name}", about, labels, metric))
    return metric


_counter = partial(_metric, Counter)
_gauge = partial(_metric, Gauge)
_seconds = partial(_metric, Histogram, buckets=SECONDS)
_sizes = partial(_metric, Histogram, buckets=SIZES)

LEADING = _gauge("scanner", "leading", "1: this scanner leads the system", "system")
ANNOUNCED = _counter("scanner", "files_announced_total", "given to the fetchers", "system")
SCAN_SECONDS = _seconds("scanner", "scan_seconds", "one scan of all elements", "system")
SCANNED = _gauge("scanner", "last_scan_timestamp_seconds", "end of the last scan", "system")
ELEMENTS = _gauge("scanner", "scan_elements", "looked at by the last scan", "system")
UNREACHABLE = _gauge("scanner", "scan_elements_unreachable", "of those, not listed", "system")
HELD_BACK = _gauge("scanner", "scan_files_held_back", "for later scans: too many files are in flight", "system")
LEFT = _gauge("scanner", "scan_files_left", "by the last scan's rules", "system", "reason")
IN_FLIGHT = _gauge("scanner", "files_in_flight", "at the last scan, for fetchers or sinks", "system", "waiting_for")

PROCESSED = _counter("fetcher", "files_processed_total", "announced files, by what became of them", "system", "stage")
LOST = _counter("fetcher", "files_lost_total", "vanished from the element before the fetch", "system")
FETCH_RETRIES = _counter("fetcher", "fetch_retries_total", "files whose download was tried again", "system")
FETCHED_BYTES = _counter("fetcher", "fetched_bytes_total", "of parsed files, as they were on the element", "system")
FILE_SECONDS = _seconds("fetcher", "file_seconds", "one announced file, until its status is published", "system")
DOWNLOAD_SECONDS = _seconds("fetcher", "download_seconds", "until a file was read, with its wait for a connection")
PARSE_SECONDS = _seconds("fetcher", "parse_seconds", "one file, with its wait for a parser")
VALUES = _counter(
    "fetcher", "values_total", "of parsed files: value, null, quarantined, dropped; why", "system", "outcome", "reason"
)
MISTYPED = _counter("fetcher", "mistyped_values_total", "of another type than the dictionary promises", "system")
MESSAGE_ROWS = _sizes("fetcher", "message_rows", "rows of one message in the counters topic")
LAG_FOUND = _gauge("fetcher", "fetcher_lag_messages", "of the partitions this fetcher has, not taken yet", "topic")
IN_HAND = _gauge("fetcher", "fetcher_messages_in_hand", "taken from the topic, not finished yet", "topic")
POOL_THREADS = _gauge("fetcher", "pool_threads", "of a system's downloads, or of moves", "pool")
POOL_BUSY = _gauge("fetcher", "pool_threads_busy", "of those, at work", "pool")
PARSERS = _gauge("fetcher", "parsers", "processes that parse")
PARSING = _gauge("fetcher", "parsers_files", "files with a parser, or waiting for one")
MOVES = _counter("fetcher", "moves_total", "settled files: move, delete, leave; gone: not there", "system", "action")
MOVES_FAILED = _counter("fetcher", "moves_failed_total", "tries to settle a file: no answer, or refused")

SINKS = "mysql_writer, ch_bridge"
STORED_BATCHES = _counter(SINKS, "stored_batches_total", "durable in the sink", "sink", "system")
STORED_ROWS = _counter(SINKS, "stored_rows_total", "durable in the sink", "sink", "system")
STORED_VALUES = _counter(SINKS, "stored_values_total", "durable in the sink, nulls included", "sink", "system")
WRITE_SECONDS = _seconds(SINKS, "write_seconds", "one write, failed ones included", "sink")
WRITE_RETRIES = _counter(SINKS, "write_retries_total", "the database did not answer", "sink")
LAG = _gauge(SINKS, "sink_lag_messages", "in the topic and not stored yet", "sink", "topic", "partition")
BEHIND = _gauge(
    SINKS, "sink_behind_seconds", "age of the newest message read; 0: none waits", "sink", "topic", "partition"
)
WRITE_BATCHES = _sizes(SINKS, "write_batches", "batches of one write", "sink")
WRITE_ROWS = _sizes(SINKS, "write_rows", "rows of one write", "sink")
SCHEMA_CHANGES = _counter(SINKS, "schema_changes_total", "columns and day partitions", "sink", "action")
ROWS_DROPPED = _counter(SINKS, "rows_dropped_total", "not stored, for a reason", "sink", "system", "reason")
DEAD_LETTERS = _counter(f"fetcher, {SINKS}", "dead_letters_total", "messages set aside in `<topic>.dlq`", "topic")

TRACKED = _gauge("tracker", "tracker_files", "waiting for sinks, or moving until a fetcher answers", "state")
TRACKER_LAG = _gauge("tracker", "tracker_lag_records", "of the ledger, in the partitions this tracker has")
COMMANDS_AGAIN = _counter("tracker", "commands_again_total", "to move a file, as nobody answered in time")
CYCLE_END = _gauge("tracker", "cycle_end_timestamp_seconds", "of the newest closed cycle", "system")
CYCLE_EXPECTED = _gauge("tracker", "cycle_elements_expected", "in the newest closed cycle", "system")
CYCLE_MISSING = _gauge("tracker", "cycle_elements_missing", "of those, without a file", "system")
CYCLE_LATE = _gauge("tracker", "cycle_files_late", "in the newest closed cycle", "system")
CYCLE_ERROR = _gauge("tracker", "cycle_files_error", "in the newest closed cycle", "system")
CYCLE_VALUES = _gauge("tracker", "cycle_values", "in the newest closed cycle", "system")
CYCLE_SUSPECT = _gauge("tracker", "cycle_suspect_ratio", "of the newest closed cycle's rows", "system")
CYCLE_LATENCY = _gauge(
    "tracker", "cycle_latency_seconds", "of its slowest file, from the end of the period", "system", "stage"
)
FILES = _gauge("tracker", "files", "of the cycles that are kept, by state", "system", "state")


def _of_host(kind: str, name: str, about: str) -> Declared:
    DECLARED.append(Declared("scanner, fetcher", kind, f"pmflow_host_{name}", about, ("host",)))
    return DECLARED[-1]


HOSTS = {
    "connected": _of_host("counter", "sessions_opened_total", "connections made"),
    "reused": _of_host("counter", "sessions_reused_total", "idle connections used again"),
    "failed": _of_host("counter", "connections_failed_total", "no connection, or login refused"),
    "refused": _of_host("counter", "sessions_refused_total", "without asking the host, as its breaker is open"),
    "waited": _of_host("counter", "session_waits_total", "for a connection, as all were in use"),
    "gave_up": _of_host("counter", "session_waits_failed_total", "longer than elements.wait_s"),
    "found_dead": _of_host("counter", "sessions_found_dead_total", "idle connections without a sign of life"),
    "in_use_s": _of_host("counter", "session_seconds_total", "connections in use"),
    "in_use": _of_host("gauge", "sessions_in_use", "connections"),
    "idle": _of_host("gauge", "sessions_idle", "connections that may be used again"),
    "waiting": _of_host("gauge", "sessions_waited_for", "threads that wait for a connection"),
    "traffic.files": _of_host("counter", "received_files_total", "downloads"),
    "traffic.bytes": _of_host("counter", "received_bytes_total", "of downloads"),
    "traffic.listings": _of_host("counter", "listings_total", "of directories; over SFTP of whole trees"),
}
"""By their field of `shared.remote.service_manager.Statistics`."""
BREAKER = _of_host("gauge", "breaker_open", "1: left alone after failures in a row, or about to be tried again")


@dataclass(frozen=True)
class HostCollector(Collector):
    """What `FtpServiceManager.statistics` tells, read at each scrape."""

    statistics: Callable[[], Mapping[str, tuple[str, Any]]]

    def collect(self) -> Iterator[Metric]:
        hosts = self.statistics()
        for name, declared in HOSTS.items():
            family = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
            metric = family(declared.name, declared.about, labels=declared.labels)
            for host, (_, statistics) in hosts.items():
                metric.add_metric((host,), attrgetter(name)(statistics))
            yield metric
        gauge = GaugeMetricFamily(BREAKER.name, BREAKER.about, labels=BREAKER.labels)
        for host, (breaker, _) in hosts.items():
            gauge.add_metric((host,), float(breaker != "closed"))
        yield gauge


class _Handler(MetricsHandler):
    health_file: Path
    began_s: float

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        match self.path:
            case "/metrics":
                super().do_GET()
            case "/healthz":
                self._answer(stale(self.health_file, time.time()))
            case "/readyz":
                self._answer(not_ready(self.health_file, time.time(), self.began_s))
            case _:
                self.send_error(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz, /readyz")

    def _answer(self, trouble: str) -> None:
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK)
        self.end_headers()
        self.wfile.write(f"{trouble or 'ok'}\n".encode())


def registry(service: str, systems: Iterable[str], *collectors: Collector) -> CollectorRegistry:
    """What a service exposes: its own metrics, and those of every process."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    for collector in collectors:
        found.register(collector)
    for declared in DECLARED:
        if service in declared.services.split(", ") and declared.metric is not None:
            found.register(declared.metric)
            if declared.labels == ("system",):  # zero from the start, else an alert misses the first one
                for system in systems:
                    declared.metric.labels(system)
    return found


def server(port: int, exposed: CollectorRegistry, health_file: Path) -> ThreadingHTTPServer:
    """Answers at /metrics, /healthz and /readyz once it is started."""
    known = {"registry": exposed, "health_file": health_file, "began_s": time.time()}
    return ThreadingHTTPServer(("", port), type("Handler", (_Handler,), known))


def serve(service: str, settings: Settings, *collectors: Collector) -> None:
    """A service's metrics and health at `metrics: {port}`, as long as the process lives.

    Raises:
        BadSettings: the port is not free, or there is no health.file to tell the health by.
    """
    port = settings.metrics.port
    if not port:
        return
    if not settings.health.file:
        raise BadSettings("metrics.port is set: health.file must be too, /healthz looks at it")
    exposed = registry(service, [system.name for system in settings.systems], *collectors)
    try:
        Thread(target=server(port, exposed, Path(settings.health.file)).serve_forever, daemon=True).start()
    except OSError as error:
        raise BadSettings(f"metrics.port: {port}: {error}") from error
