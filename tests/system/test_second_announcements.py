"""All announcements are delivered once more, in both ways there are; no file loses what the ledger says about it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shared.kafka import admin
from shared.kafka.consume import Consumer
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import TopicPartition
from shared.messages import FileStatus
from shared.settings import Settings
from shared.topics import FILES_FOUND, provisioned
from tests.system.conftest import begin, eventually
from tools.cli.dev.demo import wait_for_inventory
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import cycles, ledger, verify

GROUP = "pmflow-fetcher"
NOT_XML = b"no measurements [/b] here\n"


def known(settings: Settings) -> dict[str, FileStatus]:
    """The ledger's files by id, without the time of their last status."""
    found = ledger.read_ledger(settings.kafka).files
    return {file_id: replace(status, at_s=0.0) for file_id, status in found.items()}


def committed(settings: Settings) -> dict[int, int]:
    return {p: at for p, at in admin.committed(settings.kafka, GROUP, FILES_FOUND).items() if at > 0}


def figures(settings: Settings) -> Mapping[tuple[str, int], tuple[object, ...]]:
    found = cycles.read_cycles(settings.kafka)
    return {(f.system, f.end_s): (f.found, f.done, f.error, f.lost, f.values, f.values_stored) for f in found}


def are_stored_in_all(settings: Settings) -> bool:
    found = cycles.read_cycles(settings.kafka)
    return all(set(figures.values_stored.values()) == {figures.values} for figures in found)


def test_whatever_is_announced_again_stays_as_it_is(pipeline: Pipeline, tmp_path: Path) -> None:
    samples = tmp_path / "data" / "samples"
    samples.mkdir(parents=True)
    (samples / "bad.xml").write_bytes(NOT_XML)
    systems = {"4ga": {"on-done": "delete"}, "5ga": {"on-done": "move"}}
    pipeline = replace(pipeline, overrides={**pipeline.overrides, **systems})
    options = ("--systems", "4ga:3,5ga:3", "--cycles", "2", "--cycle-s", "4", "--plant", f"{samples}=5ga/extra")
    settings = begin(pipeline, *options)
    brokers = settings.kafka

    def stages() -> list[str]:
        return sorted(status.stage for status in known(settings).values())

    eventually(lambda: stages() == ["done"] * 12 + ["error"], 120, "all files are through")
    for outcome in verify.settled_outcomes(settings, pipeline.simulator, within_s=60):  # in ClickHouse, too
        assert outcome.right, outcome
    before = known(settings)
    assert all(status.values > 0 for status in before.values() if status.stage == "done")
    eventually(lambda: are_stored_in_all(settings), 60, "the figures count what every sink has stored")
    told = figures(settings)

    announcements = list(ledger.topic_records(brokers, FILES_FOUND))
    ends = admin.ends(brokers, FILES_FOUND)
    producer = Producer(brokers)
    producer.deliver(*(Outgoing(r.topic, r.partition, r.key_text, r.value or b"") for r in announcements))
    producer.close()
    eventually(lambda: committed(settings) == {p: 2 * end for p, end in ends.items()}, 60, "all are read again")
    assert known(settings) == before

    pipeline.process("fetcher").stop()
    operator = Consumer(brokers, GROUP)
    operator.commit({TopicPartition(FILES_FOUND.name, p): 0 for p in ends})
    operator.close()
    pipeline.start(["fetcher"])
    eventually(lambda: committed(settings) == {p: 2 * end for p, end in ends.items()}, 120, "and from the beginning")
    assert known(settings) == before
    assert figures(settings) == told
    for outcome in verify.settled_outcomes(settings, pipeline.simulator, within_s=60):
        assert outcome.right, outcome


def test_files_that_cannot_be_moved_are_told_of_and_moved_once_they_can_be(pipeline: Pipeline) -> None:
    own = {"in-flight-limit": 1, "done-directory": "done.part"}  # a file of this name counts as unfinished
    overrides = {**pipeline.overrides, "tracker": {"lateness_s": 1, "lease_s": 3}, "5ga": own}
    pipeline = replace(pipeline, overrides=overrides)
    simulator = pipeline.simulate("--systems", "5ga:2", "--cycles", "3", "--cycle-s", "4")
    settings = pipeline.configure()
    wait_for_inventory(pipeline, simulator)
    element = min((pipeline.simulator / "files" / "5ga").glob("*/pm"))
    in_the_way = element / "done.part"
    in_the_way.write_text("a file where the directory should be")
    admin.provision(settings.kafka, provisioned(system.name for system in settings.systems))
    pipeline.start()

    def of_element() -> list[FileStatus]:
        return [status for status in known(settings).values() if status.endpoint == element.parent.name]

    eventually(lambda: any(status.moves_refused for status in of_element()), 90, "a file cannot be moved")
    stuck = next(status for status in of_element() if status.moves_refused)
    assert (stuck.stage, stuck.values > 0, stuck.not_moved != "") == ("parsed", True, True)
    eventually(lambda: len(known(settings)) == 6, 90, "the others are announced though only one file has room")
    in_the_way.unlink()
    eventually(lambda: [status.stage for status in known(settings).values()] == ["done"] * 6, 120, "all are done")
    assert all(status.moves_refused == 0 for status in known(settings).values())
