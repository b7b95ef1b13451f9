"""No value is lost or doubled if services are killed with SIGKILL at any point while files keep arriving."""

from collections import Counter
from collections.abc import Callable

import pytest

from shared.settings import SERVICES, Settings
from tests.system.conftest import eventually
from tools.cli.dev.demo import written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import ledger, verify


@pytest.mark.timeout(600)
def test_no_value_is_lost_or_doubled_if_each_service_is_killed_and_restarted(
    pipeline: Pipeline, launch: Callable[..., Settings]
) -> None:
    cycles = 2 * len(SERVICES) + 2
    settings = launch("--systems", "4ga:5,5ga:5", "--cycles", str(cycles), "--cycle-s", "4")

    def stages() -> Counter[str]:
        return Counter(file.stage for file in ledger.read_ledger(settings.kafka).files.values())

    for number, service in enumerate(SERVICES, 1):
        eventually(lambda at=2 * number: written_so_far(pipeline).get("cycles", 0) >= at, 60, "the next cycle")  # type: ignore[misc]
        pipeline.process(service).kill()
        eventually(lambda at=2 * number: written_so_far(pipeline)["cycles"] > at, 60, "a cycle without it")  # type: ignore[misc]
        pipeline.start([service])

    eventually(lambda: written_so_far(pipeline)["cycles"] == cycles, 60, "the last cycle")
    files = written_so_far(pipeline)["files"]
    eventually(lambda: stages() == {"done": files}, 180, f"{files} files done")
    for outcome in verify.settled_outcomes(settings, pipeline.simulator, within_s=60):
        assert outcome.right, outcome
        assert outcome.stored == outcome.expected > 0
    left = [path for path in (pipeline.simulator / "files").glob("*/*/pm/*") if path.is_file()]
    assert left == []
