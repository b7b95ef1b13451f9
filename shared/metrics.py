"""Metrics: all that the services count, declared in one place; served beside their health. Only here prometheus.

Labels are bounded by the configuration: systems, sinks, topics, hosts of the inventory, and words that stand in the
code. Never a file, an element or a message's text.
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


def _declare(kind: type[M], services: str, name: str, about: str, *labels: str, **more: Any) -> M:
    metric = kind(name, about, labels, namespace="pmflow", registry=None, **more)
    DECLARED.append(Declared(services, kind.__name__.lower(), f"pmflow_{name}", about, labels, metric))
    return metric


counter = partial(_declare, Counter)
gauge = partial(_declare, Gauge)
seconds = partial(_declare, Histogram, buckets=SECONDS)
sizes = partial(_declare, Histogram, buckets=SIZES)

DEAD_LETTERS = counter(
    "fetcher, mysql_writer, ch_bridge", "dead_letters_total", "messages set aside in `<topic>.dlq`", "topic"
)


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
