"""Alert rules and dashboards use metrics that exist, in PromQL that Prometheus accepts."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.cli.dev.docs import declared_metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
DASHBOARDS = [json.loads(file.read_text()) for file in sorted((DEPLOY / "grafana").glob("*.json"))]
PANELS = [panel for dashboard in DASHBOARDS for panel in dashboard["panels"]]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
SERIES = {
    f"{declared.name}{suffix}": set(declared.labels)
    for declared in declared_metrics()
    for suffix in (("_bucket", "_sum", "_count") if declared.kind == "histogram" else ("",))
}


def filled_in(expression: str) -> str:
    """Returns the expression as Grafana sends it, with all variables set to everything."""
    return re.sub(r"\$(system|host|sink)\b", ".*", expression.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_uses_only_metrics_and_labels_that_exist(expression: str) -> None:
    asked = re.findall(r"pmflow_\w+", expression)
    assert asked
    assert set(asked) <= SERIES.keys()
    labels = {label for by in re.findall(r"by \(([^)]+)\)", expression) for label in by.split(", ")} - {"le"}
    assert labels <= set().union(*(SERIES[name] for name in asked))
    assert set(re.findall(r"[{,]\s*(\w+)\s*=", expression)) <= set().union(*(SERIES[name] for name in asked))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus has it")
def test_prometheus_accepts_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": filled_in(expression)} for n, expression in enumerate(EXPRESSIONS)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for file in (ALERTS, tmp_path / "panels.yaml"):
        checked = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus has it")
def test_each_alert_fires_when_it_must_and_only_then() -> None:
    cases = Path(__file__).with_name("alerts.yaml")
    tested = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    raised = {
        alert["alertname"]
        for test in yaml.safe_load(cases.read_text())["tests"]
        for alert in test["alert_rule_test"]
        if alert["exp_alerts"]
    }
    assert raised == {rule["alert"] for rule in RULES}


def test_the_most_important_alerts_exist() -> None:
    assert {rule["alert"] for rule in RULES} >= {"PmflowFilesLost", "PmflowNoLeader", "PmflowNothingArrives"}
