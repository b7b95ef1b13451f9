"""Quarantined items are listed with their reasons, and can be sent through the pipeline again."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from services.fetcher.settle.settler import Settler
from shared import topics
from shared.configuration.kafka import Kafka
from shared.kafka import admin
from shared.kafka.produce import Outgoing, Producer
from shared.messages import CounterBatch, File, FileStatus, SetAside, digest_of, partition_of
from shared.remote.local import LocalSession
from shared.settings import System, load
from shared.topics import CYCLES, FILES_FOUND, FILES_SETTLE, FILES_STATUS, Topic
from tools.cli.operate import ledger
from tools.cli.operate.quarantine import (
    Quarantine,
    QuarantinedItem,
    quarantined_items,
    read_letters,
    records_set_aside,
)
from tools.devstack.stack import Stack

BATCH = CounterBatch(
    system="s", file_id="0" * 16, element="e", group="G", job="", gp_s=900, end_s=900, end_offset_min=0, ver=1,
    counters=["a"], rows=[["o", 0, 1]],
).encode()  # fmt: skip


class Aside:
    """A system of its own on the broker; its only file is in error/."""

    def __init__(self, brokers: Kafka, home: Path) -> None:
        self.brokers = brokers
        self.settings = replace(load(()), kafka=brokers)
        self.system = uuid.uuid4().hex[:8]
        self.topic = topics.counters_topic(self.system)
        admin.provision(brokers, topics.provisioned([self.system]))
        self.producer = Producer(brokers)
        self.place = home / "A1.xml"
        self.moved = home / "error" / "A1.xml"
        self.moved.parent.mkdir()
        self.moved.write_text("<mdc>")
        os.utime(self.moved, (1000, 1000))
        self.file = FileStatus(
            file_id=uuid.uuid4().hex[:16], system=self.system, endpoint="e", element="e", path=str(self.place),
            size=5, mtime_s=1000, epoch=1, stage="error", at_s=1.0, reason="no element found",
        )  # fmt: skip
        self.say(FILES_STATUS.name, self.file.encode())

    def say(self, topic: str, value: bytes, **headers: str) -> None:
        self.producer.deliver(Outgoing(topic, partition_of("e"), self.file.file_id, value, headers))

    def letter(self, value: bytes, reason: str) -> None:
        self.say(self.topic.dead_letters.name, value, reason=reason, origin="x", sink="mysql")

    def set_aside(self, content: bytes) -> SetAside:
        """Writes a set-aside record to the ledger, as a sink does, and returns it."""
        told = SetAside(
            sink="mysql", topic=self.topic.name, partition=partition_of("e"), offset=0, file_id="0" * 16, element="e",
            values=1, reason="out of range", at_s=1.0, content=digest_of(content),
        )  # fmt: skip
        self.producer.deliver(Outgoing(FILES_STATUS.name, told.partition, told.key, told.encode()))
        return told

    @contextmanager
    def session(self, _file: File) -> Iterator[LocalSession]:
        yield LocalSession()

    def opened(self) -> Quarantine:
        files = {f.file_id: f for f in ledger.read_ledger(self.brokers).files.values() if f.system == self.system}
        letters = {self.system: ledger.topic_records(self.brokers, self.topic.dead_letters)}
        settler = Settler(self.session, lambda file: System(name=file.system), lambda _: UTC)
        return Quarantine(files, {i.id: i for i in quarantined_items(files.values(), letters)}, self.producer, settler)

    def set_record_aside(self, topic: Topic, value: bytes) -> None:
        """Writes a dead letter of a topic that is not one of counters."""
        self.say(topic.dead_letters.name, value, reason="defect: KeyError: 'x'", origin=f"{topic.name}/0/{len(value)}")

    def records(self) -> tuple[Quarantine, list[QuarantinedItem]]:
        """Returns the quarantine, and the records of other topics that were set aside."""
        opened, mine = self.opened(), self.file.file_id
        letters = {
            topic: [letter for letter in found if letter.key_text == mine or "settled" in letter.headers]
            for topic, found in read_letters(self.settings).items()
        }
        return opened, list(records_set_aside(opened.files, letters))

    def shown(self) -> list[QuarantinedItem]:
        return list(self.opened().items.values())

    def status(self) -> FileStatus:
        return ledger.read_ledger(self.brokers).files[self.file.file_id]


@pytest.fixture
def aside(stack: Stack, tmp_path: Path) -> Iterator[Aside]:
    found = Aside(stack.kafka, tmp_path)
    yield found
    found.producer.close()


def test_a_file_in_error_goes_back_to_where_it_was_found_and_is_announced_again(aside: Aside) -> None:
    (item,) = aside.shown()
    assert (item.what, item.reason) == ("file", "no element found")
    assert "the next scan" in aside.opened().retry(item)
    assert (aside.place.read_text(), aside.moved.exists(), aside.status().stage) == ("<mdc>", False, "postponed")
    assert aside.shown() == []


def test_a_discarded_file_stays_and_is_no_longer_listed(aside: Aside) -> None:
    (item,) = aside.shown()
    aside.opened().discard(item)
    assert (aside.moved.exists(), aside.status().stage, aside.shown()) == (True, "error", [])


def test_a_file_whose_name_has_been_taken_meanwhile_stays(aside: Aside) -> None:
    aside.place.write_text("another")
    assert "nothing done" in aside.opened().retry(aside.shown()[0])
    assert (aside.place.read_text(), aside.status().stage) == ("another", "error")


def test_a_batch_is_sent_to_its_topic_again_only_once(aside: Aside) -> None:
    aside.letter(BATCH, "out of range")
    told = aside.set_aside(BATCH)
    assert ledger.read_ledger(aside.brokers).set_aside[told.key] == told
    batch = aside.shown()[1]
    assert (batch.what, batch.reason, batch.element) == ("batch", "out of range", "e")
    aside.opened().retry(batch)
    assert [record.value for record in ledger.topic_records(aside.brokers, aside.topic)] == [BATCH]
    assert [item.what for item in aside.shown()] == ["file"]
    assert told.key not in ledger.read_ledger(aside.brokers).set_aside


def test_retrying_a_block_moves_its_file_back(aside: Aside) -> None:
    aside.letter(b'{"file_id":"%s","element":"e","reason":"count mismatch"}' % aside.file.file_id.encode(), "count")
    block = aside.shown()[1]
    assert block.what == "block"
    aside.opened().retry(block)
    assert aside.place.exists()
    assert aside.shown() == []


def test_a_status_that_was_set_aside_is_sent_again_unless_the_ledger_has_a_newer_one(aside: Aside) -> None:
    newer, older = replace(aside.file, at_s=2.0, stage="done"), replace(aside.file, at_s=0.5, stage="parsed")
    for status in (older, newer):
        aside.set_record_aside(FILES_STATUS, status.encode())
    quarantine, (first, second) = aside.records()
    assert [(item.what, item.system, item.file_id) for item in (first, second)] == [
        ("status", aside.system, aside.file.file_id)
    ] * 2
    assert quarantine.retry(first) == "nothing sent: the file is error in the ledger"
    assert aside.status() == aside.file
    assert quarantine.retry(second) == f"sent to {FILES_STATUS.name} again"
    assert aside.status() == newer
    assert aside.records()[1] == []


def test_announcements_commands_and_figures_that_were_set_aside_are_sent_again(aside: Aside) -> None:
    said = f'{{"system": "{aside.system}"}}'.encode()
    for topic in (FILES_FOUND, FILES_SETTLE, CYCLES):
        headers = {"reason": "bad", "origin": f"{topic.name}/0/1"}
        aside.producer.deliver(Outgoing(topic.dead_letters.name, 0, aside.file.file_id, said, headers))
    quarantine, items = aside.records()
    assert [item.what for item in items] == ["announcement", "command", "figures"]
    for item, topic in zip(items, (FILES_FOUND, FILES_SETTLE, CYCLES), strict=True):
        quarantine.retry(item)
        assert said in [record.value for record in ledger.topic_records(aside.brokers, topic)]
    assert aside.records()[1] == []
