"""Files the tracker never heard of are commanded from the ledger itself, and no others."""

from dataclasses import replace

from services.tracker.overlooked import Overlooked
from shared.messages import FileStatus, SinkPosition

PARSED = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="parsed", at_s=0.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
)  # fmt: skip
MYSQL = SinkPosition(sink="mysql", topic="pm.counters.4ga", partition=5, next_offset=10)


def overlooked(*records: FileStatus | SinkPosition) -> Overlooked:
    found = Overlooked(lambda _: ("mysql",), patience_s=60.0)
    for record in records:
        found.told(record)
    return found


def test_a_complete_file_that_stays_where_it_is_is_commanded_again_and_again() -> None:
    found = overlooked(PARSED, MYSQL)
    assert list(found.due(1000.0)) == []
    assert list(found.due(1059.0)) == []
    (command,) = found.due(1060.0)
    assert (command.file_id, command.to) == ("f1", "done")
    assert FileStatus.of(command.status, b"") == replace(PARSED, stored_s=1060.0)
    assert list(found.due(1061.0)) == []
    assert len(list(found.due(1120.0))) == 1


def test_a_failed_file_is_commanded_to_error() -> None:
    found = overlooked(replace(PARSED, stage="failed", topic=""))
    assert list(found.due(1000.0)) == []
    assert [command.to for command in found.due(1060.0)] == ["error"]


def test_what_is_moved_or_not_stored_yet_is_left_alone() -> None:
    not_stored = replace(PARSED, file_id="f2", last_offset=10)
    found = overlooked(PARSED, not_stored, MYSQL, replace(PARSED, stage="done"))
    assert list(found.due(1000.0)) == []
    assert list(found.due(9000.0)) == []
    assert list(found.files) == ["f2"]


def test_a_file_that_is_told_again_waits_again() -> None:
    found = overlooked(PARSED, MYSQL)
    assert list(found.due(1000.0)) == []
    found.told(PARSED)
    assert list(found.due(1059.0)) == []
    assert list(found.due(1118.0)) == []
    assert len(list(found.due(1119.0))) == 1
