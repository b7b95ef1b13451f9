"""Metrics: factories that declare them, and the HTTP server for metrics and health.

The values of a label are bounded by the configuration (systems, sinks, topics, hosts of the inventory) or are constants
in the code. A file, an element or the text of a message is never a label value.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, MetricsHandler, ProcessCollector
from prometheus_client.registry import Collector

from shared.health import OBSTACLES, not_started, stale
from shared.settings import BadSettings, Settings

M = TypeVar("M", Counter, Gauge, Histogram)
SIZES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared metric, as listed in docs/metrics.md."""

    services: str
    kind: str
    name: str
    about: str
    labels: tuple[str, ...]
    metric: Any = field(default=None, compare=False)
    """The object that counts; None if a collector reads the value at each scrape."""


DECLARED: list[Declared] = []


def _declare(kind: type[M], services: str, name: str, about: str, *labels: str, **more: Any) -> M:
    metric = kind(name, about, labels, namespace="pmflow", registry=None, **more)
    DECLARED.append(Declared(services, kind.__name__.lower(), f"pmflow_{name}", about, labels, metric))
    return metric


counter = partial(_declare, Counter)
gauge = partial(_declare, Gauge)
seconds = partial(_declare, Histogram, buckets=SECONDS)
sizes = partial(_declare, Histogram, buckets=SIZES)

DEAD_LETTERS = counter(
    "scanner, fetcher, mysql_writer, ch_bridge, tracker",
    "dead_letters_total",
    "Messages sent to the dead-letter topic `<topic>.dlq`.",
    "topic",
)
DEFECTS = counter(
    "scanner, fetcher, mysql_writer, ch_bridge, tracker",
    "defects_total",
    "Records set aside because the code failed on them unexpectedly; needs a correction of the code.",
)


class _Handler(MetricsHandler):
    health_file: Path
    began_s: float

    def do_GET(self) -> None:  # noqa: N802 - name given by http.server
        match self.path.partition("?")[0]:  # ?name[]= picks metrics: one per host has thousands of lines
            case "/metrics":
                super().do_GET()
            case "/healthz":
                self._respond(stale(self.health_file, time.time()))
            case "/readyz":
                self._respond(OBSTACLES.text or not_started(self.health_file, time.time(), self.began_s))
            case "/startupz":
                self._respond(not_started(self.health_file, time.time(), self.began_s))
            case _:
                self.send_error(HTTPStatus.NOT_FOUND, "not found; available: /metrics, /healthz, /readyz, /startupz")

    def _respond(self, trouble: str) -> None:
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK)
        self.end_headers()
        self.wfile.write(f"{trouble or 'ok'}\n".encode())


def registry(service: str, systems: Iterable[str], *collectors: Collector) -> CollectorRegistry:
    """Returns the registry with the metrics of a service and of its process."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    for collector in collectors:
        found.register(collector)
    for declared in DECLARED:
        if service in declared.services.split(", ") and declared.metric is not None:
            found.register(declared.metric)
            if declared.labels == ("system",):  # starts at zero, otherwise an alert misses the first increase
                for system in systems:
                    declared.metric.labels(system)
    return found


def server(address: tuple[str, int], exposed: CollectorRegistry, health_file: Path) -> ThreadingHTTPServer:
    """Creates the HTTP server for metrics and health at a host and port; the caller starts it."""
    known = {"registry": exposed, "health_file": health_file, "began_s": time.time()}
    return ThreadingHTTPServer(address, type("Handler", (_Handler,), known))


def serve_metrics(service: str, settings: Settings, *collectors: Collector) -> None:
    """Serves the metrics and health of a service at `metrics: {host, port}` until the process ends.

    Raises:
        BadSettings: the host is not an address of this machine, the port is in use, or health.file is not set.
    """
    host, port = settings.metrics.host, settings.metrics.port
    if not port:
        return
    if not settings.health.file:
        raise BadSettings("metrics.port is set but health.file is not: set it too, /healthz checks that file")
    exposed = registry(service, [system.name for system in settings.systems], *collectors)
    try:
        Thread(target=server((host, port), exposed, Path(settings.health.file)).serve_forever, daemon=True).start()
    except OSError as error:
        raise BadSettings(f"metrics: cannot listen on host {host}, port {port}: {error}") from error
