"""Every topic: its messages decode, unknown fields are ignored, its topic for dead letters exists."""

from typing import Any

import orjson
import pytest

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin
from shared.cycle_figures import CycleFigures
from shared.ledger import OffsetGap
from shared.messages import CounterBatch, FileFound, FileStatus, Message, SetAside, Settle, SinkPosition
from shared.topics import (
    CYCLES,
    FILES_FOUND,
    FILES_SETTLE,
    FILES_STATUS,
    MESSAGE_MAX_BYTES,
    Topic,
    counters_topic,
    provisioned,
)

FILE: dict[str, Any] = {
    "file_id": "00c338da9aec4329", "system": "5ga", "endpoint": "5ga-003", "element": "5ga-003",
    "path": "/pm/A20261124.0915-0500-0930-0500_5ga-003.xml.gz", "size": 1580, "mtime_s": 1795529887, "epoch": 17,
}  # fmt: skip
STATUS = {**FILE, "stage": "parsed", "at_s": 1795529888.5}
SAMPLES: dict[type[Message], dict[str, Any]] = {
    FileFound: FILE,
    FileStatus: STATUS,
    SinkPosition: {"sink": "mysql", "topic": "pm.counters.5ga", "partition": 3, "next_offset": 42},
    Settle: {"file_id": FILE["file_id"], "to": "done", "status": STATUS},
    SetAside: {
        "sink": "mysql", "topic": "pm.counters.5ga", "partition": 3, "offset": 41, "file_id": "00c338da9aec4329",
        "element": "SubNetwork=5ga,e", "values": 2, "reason": "counters a: unknown", "at_s": 1795529889.5,
        "content": "5a1d9c63b8a0f2e4",
    },
    OffsetGap: {
        "sink": "mysql", "topic": "pm.counters.5ga", "partition": 3, "first": 41, "next_offset": 57,
        "at_s": 1795529889.5,
    },
    CycleFigures: {
        "system": "5ga", "end_s": 1795530600, "told_s": 1795531500.5, "expected": 2, "missing": ["5ga-004"],
        "elements": 1, "found": 1, "late": 0, "fetched": 1, "parsed": 1, "stored": {"mysql": 1}, "done": 1, "error": 0,
        "lost": 0, "postponed": 0, "quarantined": 0, "bytes": 1580, "batches": 2, "rows": 4, "suspect": 1, "values": 7,
        "values_stored": {"mysql": 5}, "values_set_aside": {"mysql": 2}, "values_quarantined": 0, "values_dropped": 0,
        "retries": 0, "latency_s": {"written": [1, 1, 1], "parsed": [2.5, 2.5, 2.5], "stored": []}, "took_s": 2.5,
    },
    CounterBatch: {
        "system": "5ga", "file_id": "00c338da9aec4329", "element": "SubNetwork=5ga,e", "group": "NRCellDU", "job": "1",
        "gp_s": 900, "end_s": 1795530600, "end_offset_min": -300, "ver": 1, "counters": ["a", "b", "c"],
        "rows": [["NRCellDU=1", 0, 1, 2.5, None], ["NRCellDU=2", 1, "up", [1, None], 0]],
    },
}  # fmt: skip
TOPICS = (FILES_FOUND, FILES_STATUS, FILES_SETTLE, CYCLES, counters_topic("5ga"))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_topics_messages_are_read_as_documented_and_unknown_fields_pass(topic: Topic) -> None:
    for message in topic.messages:
        raw = orjson.dumps({"kind": message.kind, **SAMPLES[message], "of_a_newer_version": 1})
        read = message.decode(raw)
        expected = {n: FileStatus(**value) if n == "status" else value for n, value in SAMPLES[message].items()}
        assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_each_topic_has_a_topic_for_its_dead_letters_that_takes_messages_of_the_same_size(topic: Topic) -> None:
    names = {provided.name: provided for provided in provisioned(["4ga", "5ga"])}
    twin = names[f"{topic.name}.dlq"]
    assert twin.partitions == topic.partitions
    assert int(twin.config["max.message.bytes"]) >= int(topic.config["max.message.bytes"]) > MESSAGE_MAX_BYTES


def test_batches_that_the_parser_writes_are_read_unchanged_by_the_sinks() -> None:
    xml = b"""<measCollecFile><fileHeader dnPrefix="SubNetwork=1"/><measData><managedElement localDn="e1"/>
    <measInfo measInfoId="G"><granPeriod duration="PT900S" endTime="2023-05-15T07:15:00+01:00"/>
    <measTypes>a b c d</measTypes><measValue measObjLdn="o1"><measResults>1 NIL 2.50 1,,3</measResults>
    <suspect>true</suspect></measValue></measInfo></measData></measCollecFile>"""
    (batch,) = read_file(xml, Origin("5ga", "0" * 16, "host", 7)).batches
    read = CounterBatch.decode(batch.value)
    assert (read.system, read.element, read.group, read.ver) == ("5ga", "SubNetwork=1,e1", "G", 7)
    assert (read.end_s, read.end_offset_min, read.gp_s) == (1684131300, 60, 900)
    assert read.counters == ["a", "b", "c", "d"]
    assert read.rows == [["o1", 1, 1, None, 2.5, [1, None, 3]]]
    assert len(batch.value) <= MESSAGE_MAX_BYTES
