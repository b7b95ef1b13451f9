"""The main job on a broker with TLS, login and an authorizer: each service is a principal with its own rights."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared import topics
from shared.errors import Unreachable
from shared.kafka import admin
from shared.kafka.permissions import grant_rights
from shared.kafka.produce import Outgoing, Producer
from shared.rights import KAFKA_OPERATOR
from shared.settings import SERVICES
from tests.system.conftest import OVERRIDES, eventually
from tools.cli.dev.demo import wait_for_inventory, written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import ledger, verify
from tools.devstack import stack as devstack
from tools.devstack.stack import login_environment


@pytest.fixture
def secured_pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    try:
        stack = devstack.up(tmp_path, secured=True)
        logins = {service: login_environment(stack.kafka_as(service)) for service in SERVICES}
        yield Pipeline(tmp_path, stack, OVERRIDES, environments=logins)
    finally:
        devstack.down(tmp_path)


def test_the_main_job_runs_with_each_services_own_rights_and_nothing_is_denied(secured_pipeline: Pipeline) -> None:
    pipeline, brokers = secured_pipeline, secured_pipeline.stack.kafka
    for principal in (*SERVICES, KAFKA_OPERATOR):
        grant_rights(brokers, principal, principal)
    simulator = pipeline.simulate("--systems", "4ga:3,5ga:2", "--cycles", "2", "--cycle-s", "4")
    settings = pipeline.configure()
    wait_for_inventory(pipeline, simulator)
    operator = replace(settings, kafka=pipeline.stack.kafka_as(KAFKA_OPERATOR))
    admin.provision(operator.kafka, topics.provisioned(system.name for system in settings.systems))
    pipeline.start()

    def stages() -> Counter[str]:
        return Counter(file.stage for file in ledger.read_ledger(operator.kafka).files.values())

    eventually(lambda: written_so_far(pipeline).get("cycles") == 2, 60, "two cycles are written")
    files = written_so_far(pipeline)["files"]
    eventually(lambda: stages() == {"done": files}, 120, f"{files} files through")
    for outcome in verify.settled_outcomes(operator, pipeline.simulator, within_s=60):
        assert outcome.right, outcome
        assert outcome.stored == outcome.expected > 0
    assert pipeline.ended(SERVICES) == {}
    assert denied(pipeline) == []
    with pytest.raises(Unreachable):
        Producer(pipeline.stack.kafka_as("fetcher")).deliver(Outgoing(topics.CYCLES.name, 0, "key", b"{}"))
    eventually(lambda: bool(denied(pipeline)), 30, "the broker's log says what it denied")


def denied(pipeline: Pipeline) -> list[str]:
    """Returns what the broker's authorizer refused."""
    lines = (pipeline.home / "log" / "kafka.log").read_text(errors="replace").splitlines()
    return [line for line in lines if "is Denied" in line or "is DENIED" in line]
