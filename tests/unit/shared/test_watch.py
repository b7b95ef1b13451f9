import logging
from dataclasses import replace

import pytest

from shared.configuration.kafka import Kafka
from shared.settings import BadSettings, Settings, System, load
from shared.watch import Watch


class Files:
    """The configuration's files, as they are now."""

    def __init__(self) -> None:
        self.now: Settings | BadSettings = load(())

    def read(self) -> Settings:
        if isinstance(self.now, BadSettings):
            raise self.now
        return self.now


def settings(*systems: System) -> Settings:
    return replace(load(()), systems=systems)


def test_a_change_of_the_systems_is_told_once() -> None:
    files = Files()
    watch = Watch(load(()), read=files.read)
    assert watch.look() is None
    files.now = settings(System(name="4ga"))
    assert watch.look() == files.now == watch.settings
    assert watch.look() is None


def test_a_bad_change_is_refused_with_the_reason_and_the_old_one_stays(caplog: pytest.LogCaptureFixture) -> None:
    files = Files()
    watch = Watch(load(()), read=files.read)
    files.now = BadSettings("4ga: unknown key 'consumerTreads'")
    assert (watch.look(), watch.look()) == (None, None)
    assert watch.refused == "4ga: unknown key 'consumerTreads'"
    assert [record.message for record in caplog.records] == ["configuration rejected, previous one kept"]
    files.now = settings(System(name="4ga"))
    assert watch.look() is not None
    assert watch.refused == ""


def test_what_the_service_cannot_work_with_is_refused_too() -> None:
    files = Files()

    def check(wanted: Settings) -> None:
        if any(system.name == "5ga" for system in wanted.systems):
            raise BadSettings("5ga: no inventory")

    watch = Watch(load(()), check, files.read)
    files.now = settings(System(name="4ga"), System(name="5ga"))
    assert watch.look() is None
    assert (watch.refused, watch.settings.systems) == ("5ga: no inventory", ())


def test_what_needs_a_restart_is_said_and_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    files = Files()
    watch = Watch(load(()), read=files.read)
    files.now = replace(load(()), kafka=Kafka(bootstrap_servers="elsewhere:9092"), own={"mysql": {"host": "other"}})
    assert (watch.look(), watch.look()) == (None, None)
    assert watch.settings.kafka == Kafka()
    assert [vars(record)["sections"] for record in caplog.records] == [["kafka", "mysql"]]
