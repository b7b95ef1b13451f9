"""Alert rules and the dashboard ask for metrics that there are, in PromQL that Prometheus reads."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from shared.metrics import DECLARED

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((DEPLOY / "grafana" / "pmflow.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
SERIES = {
    f"{declared.name}{suffix}": set(declared.labels)
    for declared in DECLARED
    for suffix in (("_bucket", "_sum", "_count") if declared.kind == "histogram" else ("",))
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    asked = re.findall(r"pmflow_\w+", expression)
    assert asked
    assert set(asked) <= SERIES.keys()
    labels = {label for by in re.findall(r"by \(([^)]+)\)", expression) for label in by.split(", ")} - {"le"}
    assert all(labels <= SERIES[name] for name in asked)
    assert set(re.findall(r"[{,]\s*(\w+)\s*=", expression)) <= set().union(*(SERIES[name] for name in asked))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus has it")
def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{n}", "expr": expression.replace("$__rate_interval", "5m").replace("$system", ".*")}
        for n, expression in enumerate(EXPRESSIONS)
    ]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for file in (ALERTS, tmp_path / "panels.yaml"):
        checked = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alarms_nobody_may_miss_are_there() -> None:
    assert {rule["alert"] for rule in RULES} >= {"PmflowFilesLost", "PmflowNoLeader", "PmflowNothingArrives"}
