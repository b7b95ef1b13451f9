"""A whole pipeline on a stack of its own, with empty topics, databases and elements at the start."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from shared import topics
from shared.kafka import admin
from shared.settings import Settings
from tools.cli.dev.demo import DEMO_SCHEDULE, wait_for_inventory
from tools.cli.dev.pipeline import Pipeline
from tools.devstack import stack as devstack

OVERRIDES = {
    **DEMO_SCHEDULE,
    "tracker": {"lateness_s": 1},
    "scanner": {"lease_s": 15, "settle_s": 0.5},
}


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline whose servers run but whose services do not; everything is stopped at the end."""
    try:
        yield Pipeline(tmp_path, devstack.up(tmp_path), OVERRIDES)
    finally:
        devstack.down(tmp_path)


@pytest.fixture
def launch(pipeline: Pipeline) -> Callable[..., Settings]:
    """Starts simulator and services."""
    return partial(begin, pipeline)


def begin(pipeline: Pipeline, *simulator_options: str) -> Settings:
    """Creates the topics, then starts simulator and services."""
    simulator = pipeline.simulate(*simulator_options)
    settings = pipeline.configure()
    wait_for_inventory(pipeline, simulator)
    admin.provision(settings.kafka, topics.provisioned(s.name for s in settings.systems))
    pipeline.start()
    return settings


def eventually(true: Callable[[], bool], within_s: float, what: str) -> None:
    """Waits for a condition; the condition does the waiting (it reads Kafka, which blocks)."""
    until_s = monotonic() + within_s
    while not true():
        assert monotonic() < until_s, f"not within {within_s} s: {what}"
