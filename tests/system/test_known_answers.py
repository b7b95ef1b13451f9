"""The figures of each cycle equal the known answers, though files are late, doubled, renamed, corrupt, corrected or
missing, and a tracker and a sink are killed in the middle.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from time import time
from typing import Any

import pytest

from shared.messages import CycleFigures
from shared.settings import Settings
from tests.system.conftest import eventually
from tools.cli import cycles, verify
from tools.cli.demo import written
from tools.cli.pipeline import Pipeline
from tools.simulator.anomalies import Answer

GP_S = 60
CYCLES = 3


@pytest.mark.timeout(400)
def test_the_figures_of_every_cycle_equal_the_known_answers_though_tracker_and_sink_are_killed(
    pipeline: Pipeline, launch: Callable[..., Settings]
) -> None:
    """The cycles before the last one are long over when their files come: all of them are late."""
    last_end_s = int(time()) // GP_S * GP_S
    lateness_s = time() + 35.0 - last_end_s
    settings = launch(
        "--systems", "4ga:8,5ga:8", "--cycles", str(CYCLES), "--cycle-s", "3", "--gp-s", str(GP_S),
        "--start", str(last_end_s - (CYCLES - 1) * GP_S), "--anomalies", "all", "--late-s", str(lateness_s),
        overrides={"tracker": {"lateness_s": lateness_s}},
    )  # fmt: skip
    eventually(lambda: written(pipeline).get("cycles", 0) >= 2, 60, "the second cycle")
    for service in ("tracker", "mysql_writer"):
        pipeline.process(service).kill()
    eventually(lambda: written(pipeline)["cycles"] == CYCLES, 60, "a cycle without them")
    pipeline.start(["tracker", "mysql_writer"])
    eventually(lambda: bool(written(pipeline)["over"]), 120, "late files and corrections are written")

    wanted = answers(pipeline.simulator)
    assert len(wanted) == 2 * CYCLES
    assert {answer["late"] for answer in wanted if answer["end_s"] == last_end_s} == {1}
    assert {answer["found"] for answer in wanted} == {9}

    def told() -> list[dict[str, Any]]:
        return [as_answered(figures) for figures in cycles.read(settings.kafka.bootstrap_servers)]

    def right() -> bool:
        return told() == wanted

    try:
        eventually(right, 120, "the figures are the answers")
    except AssertionError:
        assert told() == wanted  # shows which
    for figures in cycles.read(settings.kafka.bootstrap_servers):
        sinks = settings.system(figures.system).sinks  # type: ignore[union-attr]
        assert figures.stored == dict.fromkeys(sinks, figures.parsed)
        assert figures.values_stored == dict.fromkeys(sinks, figures.values)
        assert all(len(quantiles) == 3 for quantiles in figures.latency_s.values())
        assert figures.rates["suspect_share"] > 0
    for outcome in verify.settled_outcomes(settings, pipeline.simulator, within_s=60):
        assert outcome.right, outcome


def answers(simulator: Path) -> list[dict[str, Any]]:
    """By system and period."""
    return list(json.loads((simulator / "answers.json").read_text()))


def as_answered(figures: CycleFigures) -> dict[str, Any]:
    """What the answers tell of it."""
    return {field.name: getattr(figures, field.name) for field in fields(Answer)}
