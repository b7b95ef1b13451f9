"""`pmflow errors` and `pmflow trace` show what is in the ledger."""

from dataclasses import replace

from shared.kafka.record import Record
from shared.messages import FileStatus, SetAside, SinkPosition, digest_of
from tools.cli.operate.errors import failures, grouped, not_in_ledger, record_failures
from tools.cli.operate.quarantine import quarantined_items
from tools.cli.operate.trace import TracedRecord, hops_of

PARSED = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A1.xml", size=1, mtime_s=2, epoch=3,
    stage="parsed", at_s=10.0, topic="pm.counters.4ga", partition=5, last_offset=9, rows=2, values=7,
)  # fmt: skip
BAD = replace(PARSED, stage="error", rows=0, values=0, reason="line 3: no element found")
ASIDE = SetAside(
    sink="mysql", topic="pm.counters.4ga", partition=5, offset=8, file_id="f1", element="SubNetwork=1,e1", values=3,
    reason="counters a: unknown", at_s=12.0, content="0" * 16,
)  # fmt: skip


def test_errors_are_grouped_by_similar_reason_and_element_with_first_and_last_seen_and_the_newest_as_sample() -> None:
    files = [
        PARSED,
        replace(BAD, file_id="f2", at_s=30.0, reason="line 8: no element found"),
        replace(BAD, file_id="f3", at_s=20.0),
        replace(BAD, file_id="f4", element="e2"),
    ]
    groups = grouped(failures(files, []))
    assert [(g.element, g.many, g.first_s, g.last_s, g.sample.file_id) for g in groups] == [
        ("e1", 2, 20.0, 30.0, "f2"),
        ("e2", 1, 10.0, 10.0, "f4"),
    ]
    assert groups[0].reason == "line *: no element found"


def test_a_stored_file_with_quarantined_values_is_among_the_errors() -> None:
    (group,) = grouped(failures([replace(PARSED, quarantined=2, reason="too long: 2")], []))
    assert (group.sample.file_id, group.reason) == ("f1", "too long: *")


def test_values_that_a_sink_set_aside_are_among_the_errors() -> None:
    (group,) = grouped(failures([PARSED], [ASIDE, replace(ASIDE, offset=9, content="1" * 16, at_s=13.0)]))
    assert (group.system, group.element, group.many, group.first_s, group.last_s) == (
        "4ga",
        "SubNetwork=1,e1",
        2,
        12.0,
        13.0,
    )
    assert group.sample.says == "pm.counters.4ga/5/9 (3 values not in mysql)"


def test_a_trace_shows_each_hop_and_the_sinks_that_have_stored_the_file() -> None:
    records: list[TracedRecord] = [
        ("pm.files.status/5/0", replace(PARSED, stage="found", at_s=1.0, rows=0, topic="", last_offset=-1)),
        ("pm.files.status/5/1", PARSED),
        ("pm.files.status/5/2", replace(PARSED, file_id="f2", element="e2", endpoint="e2", path="/pm/A2.xml")),
        ("pm.files.status/5/3", SinkPosition(sink="mysql", topic="pm.counters.4ga", partition=5, next_offset=10)),
        ("pm.files.status/5/5", ASIDE),
        ("pm.files.status/5/4", SinkPosition(sink="clickhouse", topic="pm.counters.4ga", partition=5, next_offset=9)),
    ]
    for what in ("f1", "e1", "A1.xml"):
        hops = list(hops_of(records, what))
        assert [(hop.at, hop.where) for hop in hops] == [
            ("found", "pm.files.status/5/0"),
            ("parsed", "pm.files.status/5/1"),
            ("mysql", "pm.counters.4ga/5/8"),
            ("clickhouse", "pm.counters.4ga/5/9"),
            ("mysql", "pm.counters.4ga/5/9"),
        ]
        assert [hop.says.partition(",")[0] for hop in hops[3:]] == ["not stored yet", "stored"]


def test_a_message_of_counters_that_names_no_file_is_among_the_errors_and_one_that_the_ledger_has_is_there_once() -> (
    None
):
    known = replace(ASIDE, content=digest_of(b'{"file_id": "f1"}'))
    letters = [
        Record(
            "pm.counters.4ga.dlq", 5, at, b"e1", value, 20.0, {"reason": reason, "origin": f"t/5/{at}", "sink": "mysql"}
        )
        for at, (value, reason) in enumerate([(b'{"file_id": "f1"}', known.reason), (b"garbage", "not JSON: line 1")])
    ]
    items = not_in_ledger(quarantined_items([], {"4ga": letters}), {known.key: known})
    (group,) = grouped(record_failures(items))
    assert (group.system, group.reason, group.sample.says) == ("4ga", "not JSON: line *", "t/5/1 (batch)")
