"""Metrics per host of the inventory: connections, downloads and the state of the circuit breaker."""

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
    "connected": _of_host("counter", "sessions_opened_total", "Connections opened to the host."),
    "reused": _of_host("counter", "sessions_reused_total", "Idle connections that were used again."),
    "failed": _of_host("counter", "connections_failed_total", "Failed connection attempts and refused logins."),
    "refused": _of_host("counter", "sessions_refused_total", "Sessions refused because the host's breaker is open."),
    "waited": _of_host("counter", "session_waits_total", "Waits for a connection because all were in use."),
    "gave_up": _of_host("counter", "session_waits_failed_total", "Waits for a connection longer than elements.wait_s."),
    "found_dead": _of_host("counter", "sessions_found_dead_total", "Idle connections that did not respond to a check."),
    "evicted": _of_host(
        "counter", "sessions_evicted_total", "Idle connections closed because of elements.idle_connections."
    ),
    "in_use_s": _of_host("counter", "session_seconds_total", "Seconds that connections were in use, summed."),
    "in_use": _of_host("gauge", "sessions_in_use", "Connections in use now."),
    "idle": _of_host("gauge", "sessions_idle", "Idle connections that can be used again."),
    "waiting": _of_host("gauge", "sessions_waited_for", "Threads that wait for a connection now."),
    "traffic.files": _of_host("counter", "received_files_total", "Files downloaded from the host."),
    "traffic.bytes": _of_host("counter", "received_bytes_total", "Bytes downloaded from the host."),
    "traffic.listings": _of_host("counter", "listings_total", "Directory listings; over SFTP a whole tree is one."),
}
"""The metric for each field of `shared.remote.service_manager.HostStatistics`."""
BREAKER = _of_host("gauge", "breaker_open", "State of the circuit breaker: 0 closed, 1 open or half-open.")


@dataclass(frozen=True)
class HostCollector(Collector):
    """Exports `FtpServiceManager.statistics`, read at each scrape."""

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
