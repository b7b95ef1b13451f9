"""Runs the machine's Prometheus, if one is installed, with the alert rules, and lets it scrape the services."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tools.devstack import processes

PROGRAM = shutil.which("prometheus")
ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"


@dataclass(frozen=True)
class Prometheus:
    """A running server, reached at its URL."""

    url: str

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Returns the present samples of an expression: labels as `metric`, time and text of the value as `value`."""
        return list(self._get("query", query=expression)["result"])

    def value(self, expression: str) -> float:
        """Returns the value of the only sample, or NaN if there is none."""
        found = self.ask(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else float("nan")

    def rules(self) -> list[dict[str, Any]]:
        """Returns the rules as the server has loaded them, with the health of their last evaluation."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        try:
            with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as answer:
                return dict(json.load(answer)["data"])
        except HTTPError as refused:
            with refused:
                raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused


@contextmanager
def served(home: Path, port: int, targets: Mapping[str, int]) -> Iterator[Prometheus]:
    """Runs the server; `targets` are the ports of the services by name."""
    home.mkdir()
    jobs = [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{at}"]}]} for name, at in targets.items()]
    timing = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": timing, "rule_files": [str(ALERTS)], "scrape_configs": jobs}
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    argv = [str(PROGRAM), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    process = processes.start(home, "prometheus", [*argv, f"--web.listen-address=127.0.0.1:{port}"])
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    until_s = monotonic() + 60
    try:
        while True:
            try:
                prometheus.ask("1")
                break
            except (URLError, AssertionError):
                assert process.alive() and monotonic() < until_s, process.log_tail()  # noqa: PT018
                sleep(0.1)
        yield prometheus
    finally:
        process.stop()
