from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tracker.tracker import FileProcessingTracker, TrackedFiles
from shared.ledger import OffsetGap
from shared.messages import FileStatus, Settle, SinkPosition
from shared.sink_positions import SinkPositions

PARSED = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="parsed", at_s=0.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
)  # fmt: skip

NOW_S = 1000.0


def tracker(*sinks: str) -> FileProcessingTracker:
    return FileProcessingTracker({"4ga": sinks}.__getitem__, TrackedFiles({}), SinkPositions())


def position(sink: str, next_offset: int, partition: int = 5) -> SinkPosition:
    return SinkPosition(sink=sink, topic="pm.counters.4ga", partition=partition, next_offset=next_offset)


def moved(message: Settle | FileStatus) -> str:
    assert isinstance(message, Settle)
    return message.to


def test_a_file_is_done_when_the_sink_is_past_its_last_offset() -> None:
    t = tracker("mysql")
    assert list(t.on_status(PARSED, NOW_S)) == []
    assert list(t.on_position(position("mysql", 9), NOW_S)) == []
    assert list(t.on_position(position("mysql", 10, partition=6), NOW_S)) == []
    (command,) = t.on_position(position("mysql", 10), NOW_S)
    assert (command.file_id, command.to) == ("f1", "done")
    assert command.status == replace(PARSED, stored_s=NOW_S)


def test_it_waits_for_every_required_sink_and_for_no_other() -> None:
    t = tracker("mysql", "clickhouse")
    list(t.on_status(PARSED, NOW_S))
    assert list(t.on_position(position("mysql", 10), NOW_S)) == []
    assert [moved(c) for c in t.on_position(position("clickhouse", 10), NOW_S)] == ["done"]


def test_a_position_that_arrives_before_the_file_counts() -> None:
    t = tracker("mysql")
    list(t.on_position(position("mysql", 10), NOW_S))
    (command,) = t.on_status(PARSED, NOW_S)
    assert isinstance(command, Settle)
    assert (command.to, command.status) == ("done", replace(PARSED, stored_s=NOW_S))


def test_a_failed_file_goes_to_error_at_once_and_is_not_stored() -> None:
    failed = replace(PARSED, stage="failed", reason="line 3")
    (command,) = tracker("mysql").on_status(failed, NOW_S)
    assert isinstance(command, Settle)
    assert (command.to, command.status) == ("error", failed)


def test_a_file_that_was_parsed_and_then_failed_goes_to_error_only() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    assert [moved(c) for c in t.on_status(replace(PARSED, stage="failed"), NOW_S)] == ["error"]
    assert list(t.on_position(position("mysql", 10), NOW_S)) == []


def test_it_commands_once_until_the_file_is_parsed_again() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    assert len(list(t.on_position(position("mysql", 10), NOW_S))) == 1
    assert list(t.on_position(position("mysql", 11), NOW_S)) == []
    assert len(list(t.on_status(PARSED, NOW_S))) == 1


def test_it_drops_files_that_were_moved() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    list(t.on_status(replace(PARSED, stage="done"), NOW_S))
    assert t.files.table == {}
    assert list(t.on_status(replace(PARSED, stage="found"), NOW_S)) == []
    assert t.files.table == {}


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
        commands_now: Any = (
            t.on_status(PARSED, NOW_S) if event == "parsed" else t.on_position(position(event, 10), NOW_S)
        )
        commands += commands_now
    assert commands
    assert {command.to for command in commands} == {"done"}


def test_a_position_looks_only_at_the_files_it_has_passed() -> None:
    looked: list[str] = []

    class Files(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            looked.append(key)
            return super().get(key, default)

    t = FileProcessingTracker(lambda _: ("mysql",), TrackedFiles(Files()), SinkPositions())
    for n in range(100):
        list(t.on_status(replace(PARSED, file_id=f"f{n}", last_offset=n, partition=n % 2), NOW_S))
    assert [c.file_id for c in t.on_position(position("mysql", 5, partition=0), NOW_S)] == ["f0", "f2", "f4"]
    assert looked == ["f0", "f2", "f4"]


def test_what_was_decided_before_a_kill_is_decided_again() -> None:
    before = tracker("mysql")
    list(before.on_status(PARSED, NOW_S))
    assert len(list(before.on_position(position("mysql", 10), NOW_S))) == 1
    after = FileProcessingTracker(lambda _: ("mysql",), before.files, before.positions)
    assert [c.file_id for c in after.on_position(position("mysql", 10), NOW_S)] == ["f1"]
    assert list(after.on_position(position("mysql", 11), NOW_S)) == []


def test_the_sinks_to_wait_for_may_change_while_running() -> None:
    sinks = {"mysql", "clickhouse"}
    t = FileProcessingTracker(lambda _: sinks, TrackedFiles({}), SinkPositions())
    list(t.on_status(PARSED, NOW_S))
    assert list(t.on_position(position("mysql", 10), NOW_S)) == []
    sinks.remove("clickhouse")
    assert [moved(c) for c in t.on_position(position("mysql", 10), NOW_S)] == ["done"]


def test_a_file_parsed_again_waits_for_its_new_last_offset() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    list(t.on_status(replace(PARSED, last_offset=20), NOW_S))
    assert list(t.on_position(position("mysql", 10), NOW_S)) == []
    assert [c.status.last_offset for c in t.on_position(position("mysql", 21), NOW_S)] == [20]


def test_a_position_at_the_last_offset_of_a_file_parsed_again_does_not_pass_it() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    list(t.on_status(replace(PARSED, last_offset=10), NOW_S))
    assert list(t.on_position(position("mysql", 10), NOW_S)) == []
    assert [moved(c) for c in t.on_position(position("mysql", 11), NOW_S)] == ["done"]


def test_after_a_recovery_the_files_of_the_table_are_found_by_offset() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    t.files.put(replace(PARSED, file_id="f2"))  # as a restored changelog does
    t.on_recovered()
    assert [c.file_id for c in t.on_position(position("mysql", 10), NOW_S)] == ["f1", "f2"]


def test_a_table_of_another_version_is_read() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    (kept,) = t.files.table.values()
    del kept["nulls"]  # by an older version
    kept["of_a_newer_version"] = 1
    assert t.files.get("f1") == PARSED
    assert [moved(c) for c in t.on_position(position("mysql", 10), NOW_S)] == ["done"]


def gap(first: int, next_offset: int, sink: str = "mysql", at_s: float = NOW_S) -> OffsetGap:
    return OffsetGap(sink=sink, topic=PARSED.topic, partition=5, first=first, next_offset=next_offset, at_s=at_s)


def test_a_position_that_went_back_is_the_truth() -> None:
    t = tracker("mysql")
    list(t.on_position(position("mysql", 20), NOW_S))
    assert list(t.on_position(position("mysql", 5), NOW_S)) == []
    assert list(t.on_status(PARSED, NOW_S)) == []
    assert list(t.on_position(position("mysql", 9), NOW_S)) == []
    assert [moved(c) for c in t.on_position(position("mysql", 10), NOW_S)] == ["done"]


@pytest.mark.parametrize(("first", "next_offset"), [(9, 10), (4, 7), (0, 100), (6, 8)])
def test_a_file_in_a_gap_of_a_required_sink_is_collected_again(first: int, next_offset: int) -> None:
    t = tracker("mysql")
    list(t.on_status(replace(PARSED, first_offset=6), NOW_S))
    (again,) = t.on_gap(gap(first, next_offset), NOW_S)
    assert isinstance(again, FileStatus)
    assert (again.file_id, again.stage, again.topic, again.last_offset) == ("f1", "postponed", "", -1)
    assert again.at_s == NOW_S
    assert again.reason == "batches left pm.counters.4ga before mysql stored them"
    assert list(t.on_position(position("mysql", 100), NOW_S)) == []


@pytest.mark.parametrize(("first", "next_offset"), [(0, 6), (10, 20)])
def test_a_file_before_or_after_a_gap_is_done(first: int, next_offset: int) -> None:
    t = tracker("mysql")
    list(t.on_status(replace(PARSED, first_offset=6), NOW_S))
    assert list(t.on_gap(gap(first, next_offset), NOW_S)) == []
    assert [moved(c) for c in t.on_position(position("mysql", 100), NOW_S)] == ["done"]


def test_a_file_whose_first_offset_is_unknown_may_have_begun_in_a_gap_before_its_end() -> None:
    t = tracker("mysql")
    list(t.on_status(replace(PARSED, batches=2), NOW_S))
    assert [m.file_id for m in t.on_gap(gap(2, 5), NOW_S)] == ["f1"]


def test_a_gap_of_a_sink_that_the_file_does_not_wait_for_changes_nothing() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    assert list(t.on_gap(gap(0, 100, sink="clickhouse"), NOW_S)) == []
    assert [moved(c) for c in t.on_position(position("mysql", 10), NOW_S)] == ["done"]


def test_a_file_whose_status_comes_after_the_gap_is_collected_again_too() -> None:
    t = tracker("mysql")
    list(t.on_gap(gap(9, 10), NOW_S))
    list(t.on_position(position("mysql", 100), NOW_S))
    (again,) = t.on_status(PARSED, NOW_S)
    assert isinstance(again, FileStatus)
    assert (again.stage, again.at_s) == ("postponed", NOW_S)
    assert again.reason == "batches left pm.counters.4ga before mysql stored them"


def test_a_file_kept_before_is_no_longer_kept_when_it_is_parsed_into_a_gap() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    list(t.on_gap(gap(20, 30), NOW_S))
    assert [m.file_id for m in t.on_status(replace(PARSED, first_offset=25, last_offset=25), NOW_S)] == ["f1"]
    assert t.files.table == {}


def test_of_a_topic_created_anew_only_files_of_the_former_topic_are_collected_again() -> None:
    t = tracker("mysql")
    former, new = (replace(PARSED, file_id=name, parsed_s=NOW_S + at) for name, at in (("former", -1), ("new", 1)))
    list(t.on_status(former, NOW_S))
    assert [m.file_id for m in t.on_gap(gap(8, 0), NOW_S)] == ["former"]
    assert list(t.on_status(new, NOW_S)) == []
    assert [moved(c) for c in t.on_position(position("mysql", 10), NOW_S)] == ["done"]


def test_a_file_that_cannot_be_moved_gets_no_command_here_until_it_is_parsed_again() -> None:
    t = tracker("mysql")
    list(t.on_position(position("mysql", 10), NOW_S))
    assert len(list(t.on_status(PARSED, NOW_S))) == 1
    for refused in (replace(PARSED, moves_refused=1), replace(PARSED, stage="failed", moves_refused=1)):
        assert list(t.on_status(refused, NOW_S)) == []
        assert list(t.on_position(position("mysql", 11), NOW_S)) == []
    assert len(list(t.on_status(PARSED, NOW_S))) == 1


def test_a_file_that_left_the_ledger_gets_no_command() -> None:
    t = tracker("mysql")
    list(t.on_status(PARSED, NOW_S))
    t.on_removed("f1")
    t.on_removed("f1")
    assert list(t.on_position(position("mysql", 10), NOW_S)) == []
