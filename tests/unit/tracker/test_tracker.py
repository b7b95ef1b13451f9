from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.tracker.tracker import FileProcessingTracker
from shared.messages import FileStatus, Settle, SinkPosition

PARSED = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="parsed", at_s=0.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
)  # fmt: skip


def tracker(*sinks: str) -> FileProcessingTracker:
    return FileProcessingTracker({"4ga": frozenset(sinks)}, {}, {})


def position(sink: str, next_offset: int, partition: int = 5) -> SinkPosition:
    return SinkPosition(sink=sink, topic="pm.counters.4ga", partition=partition, next_offset=next_offset)


def test_a_file_is_done_when_the_sink_is_past_its_last_offset() -> None:
    t = tracker("mysql")
    assert list(t.told(PARSED)) == []
    assert list(t.moved(position("mysql", 9))) == []
    assert list(t.moved(position("mysql", 10, partition=6))) == []
    (command,) = t.moved(position("mysql", 10))
    assert (command.file_id, command.to) == ("f1", "done")
    assert FileStatus.of(command.status, b"") == PARSED


def test_it_waits_for_every_required_sink_and_for_no_other() -> None:
    t = tracker("mysql", "clickhouse")
    list(t.told(PARSED))
    assert list(t.moved(position("mysql", 10))) == []
    assert [c.to for c in t.moved(position("clickhouse", 10))] == ["done"]


def test_a_position_told_before_the_file_counts() -> None:
    t = tracker("mysql")
    list(t.moved(position("mysql", 10)))
    assert [c.to for c in t.told(PARSED)] == ["done"]


def test_a_failed_file_goes_to_error_at_once() -> None:
    assert [c.to for c in tracker("mysql").told(replace(PARSED, stage="failed", reason="line 3"))] == ["error"]


def test_it_commands_once_until_the_file_is_told_again() -> None:
    t = tracker("mysql")
    list(t.told(PARSED))
    assert len(list(t.moved(position("mysql", 10)))) == 1
    assert list(t.moved(position("mysql", 11))) == []
    assert len(list(t.told(PARSED))) == 1


def test_it_forgets_what_is_through() -> None:
    t = tracker("mysql")
    list(t.told(PARSED))
    list(t.told(replace(PARSED, stage="done")))
    assert t.files == {}
    assert list(t.told(replace(PARSED, stage="found"))) == []
    assert t.files == {}


@given(
    events=st.permutations(["parsed", "mysql", "clickhouse"]),
    again=st.lists(st.sampled_from(["parsed", "mysql", "clickhouse"])),
)
def test_whatever_the_order_and_however_often_the_file_is_commanded_to_done(
    events: list[str], again: list[str]
) -> None:
    t = tracker("mysql", "clickhouse")
    commands: list[Settle] = []
    for event in [*events, *again]:
        told: Any = t.told(PARSED) if event == "parsed" else t.moved(position(event, 10))
        commands += told
    assert commands
    assert {command.to for command in commands} == {"done"}
