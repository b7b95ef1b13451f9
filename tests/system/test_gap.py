"""Messages that leave a topic before the sink stored them: their files are collected and stored again."""

from collections import Counter
from collections.abc import Callable

import pytest

from shared import topics
from shared.kafka import admin
from shared.settings import Settings
from tests.system.conftest import eventually
from tests.unit.shared.kafka.deletions import delete_records
from tools.cli.dev.demo import written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import ledger, verify


@pytest.mark.timeout(400)
def test_files_whose_messages_expired_before_a_sink_stored_them_are_collected_again(
    pipeline: Pipeline, launch: Callable[..., Settings]
) -> None:
    settings = launch("--systems", "4ga:3,5ga:3", "--cycles", "6", "--cycle-s", "4")
    brokers = settings.kafka

    def stages() -> Counter[str]:
        return Counter(file.stage for file in ledger.read_ledger(brokers).files.values())

    eventually(lambda: stages()["done"] > 0, 60, "a file is done")
    pipeline.process("mysql_writer").kill()
    eventually(lambda: written_so_far(pipeline)["cycles"] == 6, 60, "the last cycle")
    files = written_so_far(pipeline)["files"]
    eventually(lambda: stages().keys() <= {"done", "parsed"} and stages().total() == files, 60, "all files parsed")
    assert stages()["parsed"] > 0
    for system in settings.systems:
        topic = topics.counters_topic(system.name)
        delete_records(brokers, topic, admin.ends(brokers, topic))
    pipeline.start(["mysql_writer"])
    eventually(lambda: stages() == {"done": files}, 120, f"{files} files done")
    assert any(ledger.read_ledger(brokers).positions.gaps.values())
    for outcome in verify.settled_outcomes(settings, pipeline.simulator, within_s=60):
        assert outcome.right, outcome
        assert outcome.stored == outcome.expected > 0
