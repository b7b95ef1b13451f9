"""Metrics and health over HTTP, as Prometheus and Kubernetes see them."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.fetcher.metrics import PROCESSED
from shared import metrics
from shared.health import MAX_AGE_S, OBSTACLES
from shared.remote import metrics as remote_metrics
from shared.remote.metrics import HostCollector
from shared.remote.service_manager import HostStatistics
from shared.remote.session import Traffic
from shared.settings import SERVICES, BadSettings, load
from tests.fakes.elements import free_port
from tools.cli.dev.docs import declared_metrics

HOSTS = {
    "a:22": ("closed", HostStatistics(connected=3, traffic=Traffic(files=7, bytes=900))),
    "b:22": ("half-open", HostStatistics(failed=4)),
}

BOUNDED = {"system", "sink", "topic", "partition", "host", "code", "class"} | {
    "stage",
    "reason",
    "waiting_for",
    "outcome",
    "action",
    "state",
    "pool",
}
"""The configuration's, the inventory's, and words of the code."""


class Served:
    def __init__(self, health_file: Path) -> None:
        exposed = metrics.registry("fetcher", ["4ga"], HostCollector(lambda: HOSTS))
        self.server = metrics.server(("127.0.0.1", 0), exposed, health_file)
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://localhost:{self.server.server_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        _, text = self.get("/metrics")
        found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return {(sample.name, tuple(v for _, v in sorted(sample.labels.items()))): sample.value for sample in found}

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def health_file(tmp_path: Path) -> Path:
    return tmp_path / "health"


@pytest.fixture
def served(health_file: Path) -> Iterator[Served]:
    served = Served(health_file)
    yield served
    served.close()


def test_an_alarm_of_a_configured_system_is_zero_before_anything_happens(served: Served) -> None:
    assert ("pmflow_files_lost_total", ("4ga",)) in served.samples()


def test_a_service_exposes_its_own_metrics_only(served: Served) -> None:
    names = {name for name, _ in served.samples()}
    assert not {m.name for m in declared_metrics() if "fetcher" not in m.services} & names
    assert "process_resident_memory_bytes" in names


def test_what_is_counted_shows_at_the_next_scrape(served: Served) -> None:
    before = served.samples().get(("pmflow_files_processed_total", ("parsed", "4ga")), 0.0)
    PROCESSED.labels("4ga", "parsed").inc()
    assert served.samples()["pmflow_files_processed_total", ("parsed", "4ga")] == before + 1


def test_a_reader_may_ask_for_one_metric_only(served: Served) -> None:
    _, text = served.get("/metrics?name[]=pmflow_file_seconds_count")
    assert {family.name for family in text_string_to_metric_families(text)} == {"pmflow_file_seconds"}


def test_hosts_are_read_at_the_scrape(served: Served) -> None:
    samples = served.samples()
    assert samples["pmflow_host_sessions_opened_total", ("a:22",)] == 3
    assert samples["pmflow_host_received_bytes_total", ("a:22",)] == 900
    assert samples["pmflow_host_connections_failed_total", ("b:22",)] == 4
    assert [samples["pmflow_host_breaker_open", (host,)] for host in HOSTS] == [0, 1]


def test_every_statistic_of_a_host_is_told() -> None:
    plain = {f.name for f in fields(HostStatistics)} - {"traffic"}
    assert set(remote_metrics.HOSTS) == plain | {f"traffic.{f.name}" for f in fields(Traffic)}


def test_alive_means_progress_and_ready_means_progress_of_this_process(served: Served, health_file: Path) -> None:
    assert [served.get(path)[0] for path in ("/healthz", "/readyz")] == [503, 503]
    health_file.touch()
    os.utime(health_file, (time.time() - 60, time.time() - 60))
    assert served.get("/healthz")[0] == 200
    assert served.get("/readyz") == (503, f"{health_file}: no progress since the start\n")
    os.utime(health_file, (time.time() + 1, time.time() + 1))
    assert [served.get(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    long_ago_s = time.time() - MAX_AGE_S - 5
    os.utime(health_file, (long_ago_s, long_ago_s))
    code, why = served.get("/healthz")
    assert code == 503
    assert "no progress for" in why


def test_a_service_that_waits_for_a_server_is_alive_and_started_but_not_ready(
    served: Served, health_file: Path
) -> None:
    health_file.touch()
    os.utime(health_file, (time.time() + 1, time.time() + 1))
    OBSTACLES.report("mysql", "MySQL refuses the login")
    try:
        assert served.get("/readyz") == (503, "MySQL refuses the login\n")
        assert [served.get(path)[0] for path in ("/healthz", "/startupz")] == [200, 200]
    finally:
        OBSTACLES.report("mysql", "")
    assert served.get("/readyz") == (200, "ok\n")


def test_an_unknown_path_is_not_found(served: Served) -> None:
    assert served.get("/")[0] == 404


def test_names_follow_prometheus_and_labels_are_bounded() -> None:
    for declared in declared_metrics():
        assert declared.name.endswith("_total") == (declared.kind == "counter"), declared
        assert (declared.kind == "histogram") <= declared.name.endswith(("_seconds", "_batches", "_rows")), declared
        assert set(declared.services.split(", ")) <= set(SERVICES), declared
        assert set(declared.labels) <= BOUNDED, declared


def test_a_port_without_a_health_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMFLOW_METRICS__PORT", "9464")
    with pytest.raises(BadSettings, match=r"health\.file"):
        metrics.serve_metrics("fetcher", load(()))


@pytest.mark.parametrize(("told", "answers"), [({}, False), ({"PMFLOW_METRICS__HOST": "0.0.0.0"}, True)])
def test_metrics_are_served_to_this_machine_only_unless_told_otherwise(
    told: dict[str, str], answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    settings = {"PMFLOW_METRICS__PORT": str(port), "PMFLOW_HEALTH__FILE": str(tmp_path / "health")}
    for name, value in (settings | told).items():
        monkeypatch.setenv(name, value)
    metrics.serve_metrics("fetcher", load(()))
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.status == 200
    with socket.socket() as client:  # 127.0.0.2 stands for every other address of the machine
        assert (client.connect_ex(("127.0.0.2", port)) == 0) == answers


def test_an_address_that_cannot_be_listened_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMFLOW_METRICS__HOST", "192.0.2.1")
    monkeypatch.setenv("PMFLOW_METRICS__PORT", "9464")
    monkeypatch.setenv("PMFLOW_HEALTH__FILE", str(tmp_path / "health"))
    with pytest.raises(BadSettings, match=r"metrics: cannot listen on host 192\.0\.2\.1, port 9464: "):
        metrics.serve_metrics("fetcher", load(()))
