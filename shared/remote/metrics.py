"""The metrics of each host that elements are reached at."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.metrics import DECLARED, Declared


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
