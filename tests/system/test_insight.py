"""Everything that pmflow reports is true: metrics, logs, figures and commands after one run.

The run has late, doubled, renamed, corrupt, corrected and missing files; in the middle, a tracker, a sink and a
database are stopped.
"""

import json
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from time import time
from typing import Any

import clickhouse_connect
import pymysql
import pytest
import yaml
from typer.testing import CliRunner

from services.ch_bridge.settings import clickhouse_of
from services.mysql_writer.connection import connect
from services.mysql_writer.settings import mysql_of
from shared.cycle_figures import CycleFigures
from shared.messages import FileStatus
from shared.settings import SERVICES, Settings
from tests.system import prometheus
from tests.system.conftest import OVERRIDES, begin, eventually
from tests.system.prometheus import Prometheus
from tests.unit.test_alerts import PANELS, RULES, filled_in
from tools.cli.dev.demo import written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.main import app
from tools.cli.operate import cycles, ledger, verify
from tools.devstack import stack as devstack
from tools.simulator.anomalies import ExpectedFigures

pytestmark = [pytest.mark.timeout(400)]
GP_S = 60
CYCLES = 3
SECRET = "planted-s3cret"
QUIET = {
    "Files lost, last hour", "Connections that failed, last hour", "Left alone", "Files left by the last scan",
    "Rows dropped, last hour",
}  # fmt: skip
"""Panels that are empty, or show only zeros, if nothing fails."""


@dataclass(frozen=True)
class Run:
    """A finished run, whose services are still running."""

    pipeline: Pipeline
    settings: Settings
    last_end_s: int
    prometheus: Prometheus | None

    @property
    def wanted(self) -> list[dict[str, Any]]:
        """Returns the known answers by system and period."""
        return list(json.loads((self.pipeline.simulator / "answers.json").read_text()))

    def told(self) -> list[CycleFigures]:
        return cycles.read_cycles(self.settings.kafka)

    def lines(self, service: str) -> list[dict[str, Any]]:
        """Returns the lines of a service's log since its first start."""
        text = (self.pipeline.home / "log" / f"{service}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def levels(self, service: str) -> list[str]:
        """Returns the levels that the service was switched to while it ran."""
        return [line["to"] for line in self.lines(service) if line["event"] == "log level changed"]

    def waited(self, service: str) -> bool:
        """Returns True if the service noticed that its database was unavailable."""
        return any(line["event"] == "waiting for the database" for line in self.lines(service))

    def files(self) -> list[FileStatus]:
        return list(ledger.read_ledger(self.settings.kafka).files.values())


def answered(figures: CycleFigures) -> dict[str, Any]:
    """Returns the figures for which the simulator knows the answer."""
    return {field.name: getattr(figures, field.name) for field in fields(ExpectedFigures)}


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    with ExitStack() as probes:
        found = {}
        for name in names:
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found[name] = int(probe.getsockname()[1])
        return found


def with_secrets(stack: devstack.Stack) -> dict[str, dict[str, str]]:
    """Returns settings with passwords, which the dev stack does not need."""
    with pymysql.connect(host=stack.mysql_host, port=stack.mysql_port, user="root") as line, line.cursor() as cursor:
        cursor.execute(f"CREATE USER pm IDENTIFIED BY '{SECRET}'")
        cursor.execute("GRANT ALL ON *.* TO pm")
    return {
        "mysql": {"user": "pm", "password": SECRET},
        "clickhouse": {"url": stack.clickhouse_url.replace("//", f"//pm:{SECRET}@") + "/pmflow"},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The cycles before the last one are over when their files appear, so all these files are late."""
    home = tmp_path_factory.mktemp("insight")
    ports = free_ports((*SERVICES, "prometheus"))
    with ExitStack() as ends:
        ends.callback(devstack.down, home)
        stack = devstack.up(home)
        last_end_s = int(time()) // GP_S * GP_S
        lateness_s = time() + 40.0 - last_end_s
        overrides = {**OVERRIDES, **with_secrets(stack), "tracker": {"lateness_s": lateness_s}}
        pipeline = Pipeline(home, stack, overrides, {name: ports[name] for name in SERVICES})
        settings = begin(
            pipeline, "--systems", "4ga:8,5ga:8", "--cycles", str(CYCLES), "--cycle-s", "3", "--gp-s", str(GP_S),
            "--start", str(last_end_s - (CYCLES - 1) * GP_S), "--anomalies", "all", "--late-s", str(lateness_s),
        )  # fmt: skip
        asked = None
        if prometheus.PROGRAM:
            asked = ends.enter_context(prometheus.served(home / "prometheus", ports["prometheus"], pipeline.ports))
        found = Run(pipeline, settings, last_end_s, asked)
        for service in SERVICES:
            eventually(lambda service=service: bool(found.lines(service)), 60, f"{service} runs")  # type: ignore[misc]
            os.kill(pipeline.process(service).pid, signal.SIGUSR1)
            eventually(lambda service=service: found.levels(service) == ["DEBUG"], 20, f"{service} tells more")  # type: ignore[misc]
        eventually(lambda: written_so_far(pipeline).get("cycles", 0) >= 2, 60, "the second cycle")
        for service in ("tracker", "mysql_writer"):
            pipeline.process(service).kill()
        devstack.stop_component(home, "clickhouse")
        eventually(lambda: written_so_far(pipeline)["cycles"] == CYCLES, 60, "a cycle without them")
        eventually(lambda: found.waited("ch_bridge"), 30, "ClickHouse is missed")
        devstack.start_component(home, "clickhouse")
        pipeline.start(["tracker", "mysql_writer"])
        eventually(lambda: bool(written_so_far(pipeline)["over"]), 120, "late files and corrections are written")
        through = Counter({"done": 2 * CYCLES * 8, "error": 2 * CYCLES})
        eventually(lambda: Counter(f.stage for f in found.files()) == through, 120, f"{through}")
        yield found


def test_the_figures_of_every_cycle_equal_the_known_answers(run: Run) -> None:
    assert len(run.wanted) == 2 * CYCLES
    assert {answer["found"] for answer in run.wanted} == {9}
    for answer in run.wanted:  # a correction may be late in the last cycle as well
        assert answer["late"] in ((1, 2) if answer["end_s"] == run.last_end_s else (9,))

    def right() -> bool:
        return [answered(figures) for figures in run.told()] == run.wanted and all(
            set(figures.stored.values()) == {figures.parsed} for figures in run.told()
        )

    eventually(right, 60, f"{run.told()} is {run.wanted}")
    for figures in run.told():
        sinks = run.settings.system(figures.system).sinks  # type: ignore[union-attr]
        assert figures.stored == dict.fromkeys(sinks, figures.parsed)
        assert figures.values_stored == dict.fromkeys(sinks, figures.values)
        assert all(len(quantiles) == 3 for quantiles in figures.latency_s.values())
        assert figures.rates["suspect_share"] > 0
    for outcome in verify.settled_outcomes(run.settings, run.pipeline.simulator, within_s=60):
        assert outcome.right, outcome


def test_the_figures_are_kept_in_both_databases_and_printed(run: Run) -> None:
    eventually(
        lambda: cycles.latest_figures(cycles.stored_cycles(mysql_of(run.settings))) == run.told(),
        30,
        "MySQL has the newest ones",
    )
    base, _, database = clickhouse_of(run.settings).url.rpartition("/")
    wanted = {(f.system, f.end_s, f.found, f.values) for f in run.told()}

    def in_clickhouse() -> set[tuple[Any, ...]]:
        with clickhouse_connect.get_client(dsn=base, database=database) as client:
            rows = client.query("SELECT system, toUnixTimestamp(ts), `found`, `values` FROM pm_cycle").result_rows
        return set(map(tuple, rows))

    eventually(lambda: in_clickhouse() == wanted, 30, "ClickHouse has the newest ones")
    with connect(mysql_of(run.settings), mysql_of(run.settings).database) as line, line.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM pm_cycle")
        assert cursor.fetchone() == (2 * CYCLES,)
    printed = CliRunner().invoke(app, ["cycles"], env={**run.pipeline.env, "COLUMNS": "300"})
    assert printed.exit_code == 0, printed.output
    assert all(name in printed.output for answer in run.wanted for name in answer["missing"])


@pytest.mark.skipif(prometheus.PROGRAM is None, reason="Prometheus is not installed (Debian: prometheus)")
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_shows_the_scraped_metrics(run: Run, panel: dict[str, Any]) -> None:
    assert run.prometheus
    for target in panel["targets"]:
        found = run.prometheus.ask(filled_in(target["expr"]))
        assert found or panel["title"] in QUIET, target["expr"]
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert all(labels <= sample["metric"].keys() for sample in found)


@pytest.mark.skipif(prometheus.PROGRAM is None, reason="Prometheus is not installed (Debian: prometheus)")
def test_every_alert_is_evaluated_and_the_expected_ones_have_fired(run: Run) -> None:
    assert run.prometheus
    rules = {rule["name"]: rule for rule in run.prometheus.rules()}
    assert rules.keys() == {rule["alert"] for rule in RULES}
    assert {rule["health"] for rule in rules.values()} == {"ok"}
    assert rules["PmflowFilesInError"]["state"] == rules["PmflowCycleIncomplete"]["state"] == "firing"
    assert {rules[name]["state"] for name in ("PmflowFilesLost", "PmflowNoLeader", "PmflowDeadLetters")} == {"inactive"}


@pytest.mark.skipif(prometheus.PROGRAM is None, reason="Prometheus is not installed (Debian: prometheus)")
def test_the_metrics_equal_the_work_that_was_done(run: Run) -> None:
    """Checks counters of services that were not killed, because a counter restarts with its process."""
    asked = run.prometheus
    assert asked
    error, rows, values, size = (sum(a[name] for a in run.wanted) for name in ("error", "rows", "values", "bytes"))
    found, done = 2 * CYCLES * 9, 2 * CYCLES * 8

    def is_(expression: str, wanted: float) -> None:
        eventually(lambda: asked.value(expression) == wanted, 20, f"{expression} is {wanted}: {asked.ask(expression)}")

    is_("sum(pmflow_files_announced_total)", found)
    is_('sum(pmflow_files_processed_total{stage="parsed"})', done)
    is_('sum(pmflow_files_processed_total{stage="failed"})', error)
    is_("sum(pmflow_file_seconds_count)", found)
    is_('sum(pmflow_values_total{outcome="value"})', values)
    is_(
        f'sum(pmflow_moves_total{{action="move"}}) >= bool {found}', 1
    )  # a killed tracker may have sent a command twice
    is_("sum(pmflow_files_lost_total)", 0)
    is_('sum(pmflow_sink_lag_messages{sink="clickhouse"})', 0)
    of_4ga = [answer for answer in run.wanted if answer["system"] == "4ga"]
    is_('pmflow_stored_rows_total{sink="clickhouse",system="4ga"}', sum(answer["rows"] for answer in of_4ga))
    is_("sum(pmflow_message_rows_sum)", rows)
    is_("sum(pmflow_fetched_bytes_total)", size - sum(f.size for f in run.files() if f.stage == "error"))
    is_('pmflow_files{system="4ga",state="done"}', done / 2)
    is_('pmflow_files{system="4ga",state="error"}', error / 2)
    is_('pmflow_cycle_elements_missing{system="5ga"}', 1)
    (newest,) = (a for a in run.wanted if a["system"] == "5ga" and a["end_s"] == run.last_end_s)
    is_('pmflow_cycle_files_late{system="5ga"}', newest["late"])
    is_("sum(pmflow_leading)", 2)
    is_("sum(pmflow_tracker_lag_records)", 0)


def test_each_hop_of_a_file_is_found_by_its_id_in_the_logs_and_each_line_is_one_event(run: Run) -> None:
    file = next(f for f in run.files() if f.stage == "done" and f.system == "4ga" and f.end_s == run.last_end_s)
    hops = {
        (service, line["event"])
        for service in SERVICES
        for line in run.lines(service)
        if file.file_id in (line.get("file"), *line.get("files", ()))
    }
    assert hops >= {
        ("scanner", "file announced"),
        ("fetcher", "file processed"),
        ("mysql_writer", "stored"),
        ("ch_bridge", "stored"),
        ("tracker", "file complete"),
        ("fetcher", "file settled"),
    }
    closed = [line for line in run.lines("tracker") if line["event"] == "cycle closed"]
    assert len(closed) == 2 * CYCLES  # once each, although the tracker was killed and read everything again


def test_the_level_of_each_service_was_changed_while_it_ran(run: Run) -> None:
    for service in SERVICES:
        os.kill(run.pipeline.process(service).pid, signal.SIGUSR2)
    eventually(lambda: all(run.levels(service) == ["DEBUG", "INFO"] for service in SERVICES), 20, "there and back")
    assert any(line["level"] == "debug" for line in run.lines("ch_bridge"))


def test_a_trace_ends_in_the_tables_with_the_files_rows_and_errors_name_the_corrupt_files(run: Run) -> None:
    done = [f for f in run.files() if f.stage == "done" and f.system == "4ga"]
    of_element = Counter((f.element, f.end_s) for f in done)
    file = next(f for f in done if of_element[f.element, f.end_s] == 1)  # otherwise a newer file has its rows
    env = {**run.pipeline.env, "COLUMNS": "300"}
    traced = CliRunner().invoke(app, ["trace", file.file_id], env=env)
    assert traced.exit_code == 0, traced.output
    for at in ("parsed", "done", "mysql", "clickhouse", "4ga_EUtranCellFDD ", "4ga_EUtranCellFDD_rows", "3 rows"):
        assert at.lower() in traced.output.lower(), traced.output
    shown = CliRunner().invoke(app, ["errors"], env=env)
    assert shown.exit_code == 0, shown.output
    corrupt = {f.element for f in run.files() if f.stage == "error"}
    assert all(element in shown.output for element in corrupt)


def test_no_secret_is_in_any_log_whatever_fails(run: Run) -> None:
    """Covers an element that refuses a login, the level DEBUG, and unavailable databases."""
    inventory = run.pipeline.simulator / "inventory" / "4ga.yaml"
    elements = yaml.safe_load(inventory.read_text())
    inventory.write_text(yaml.safe_dump([*elements, {**elements[0], "name": "refused", "password": SECRET}]))

    def refused() -> bool:
        return any(line.get("element") == "refused" for line in run.lines("scanner"))

    eventually(refused, 60, "the login is refused")
    assert run.waited("ch_bridge")
    secrets = {SECRET, *(element["password"] for element in elements)}
    for service in SERVICES:
        text = (run.pipeline.home / "log" / f"{service}.log").read_text()
        assert not {secret for secret in secrets if secret in text}, service
