"""Commands that nobody answered, or that the tracker never gave, are given from the ledger itself."""

from dataclasses import replace

from services.tracker.leases import Leases
from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, SinkPosition

PARSED = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="parsed", at_s=0.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
)  # fmt: skip
MYSQL = SinkPosition(sink="mysql", topic="pm.counters.4ga", partition=5, next_offset=10)


def leases(*records: LedgerRecord) -> Leases:
    found = Leases(lambda _: ("mysql",), lease_s=60.0)
    for record in records:
        found.on_record(record)
    return found


def test_the_command_for_a_complete_file_is_repeated_until_it_is_moved() -> None:
    found = leases(PARSED, MYSQL)
    assert list(found.ended(1000.0)) == []
    assert list(found.ended(1059.0)) == []
    (command,) = found.ended(1060.0)
    assert (command.file_id, command.to) == ("f1", "done")
    assert command.status == replace(PARSED, stored_s=1060.0)
    assert list(found.ended(1061.0)) == []
    assert len(list(found.ended(1120.0))) == 1
    assert found.counts() == {"waiting": 0, "moving": 1}


def test_a_failed_file_is_commanded_to_error() -> None:
    found = leases(replace(PARSED, stage="failed", topic=""))
    assert list(found.ended(1000.0)) == []
    assert [command.to for command in found.ended(1060.0)] == ["error"]


def test_no_command_is_given_for_a_file_that_is_moved_or_not_stored_yet() -> None:
    not_stored = replace(PARSED, file_id="f2", last_offset=10)
    found = leases(PARSED, not_stored, MYSQL, replace(PARSED, stage="done"))
    assert list(found.ended(1000.0)) == []
    assert list(found.ended(9000.0)) == []
    assert found.counts() == {"waiting": 1, "moving": 0}


def test_a_file_that_is_parsed_again_waits_for_a_whole_lease_again() -> None:
    found = leases(PARSED, MYSQL)
    assert list(found.ended(1000.0)) == []
    found.on_record(PARSED)
    assert list(found.ended(1059.0)) == []
    assert list(found.ended(1118.0)) == []
    assert len(list(found.ended(1119.0))) == 1


def test_a_file_in_a_gap_is_not_moved_but_collected_again_when_its_lease_ends() -> None:
    gap = OffsetGap(sink="mysql", topic="pm.counters.4ga", partition=5, first=9, next_offset=10, at_s=1.0)
    found = leases(PARSED, gap, MYSQL)
    for now_s in (1000.0, 1059.0):
        assert [*found.ended(now_s), *found.lost(now_s)] == []
    (again,) = found.lost(1060.0)
    assert (again.file_id, again.stage, again.topic) == ("f1", "postponed", "")
    assert list(found.ended(1060.0)) == []
    found.on_record(again)
    assert [*found.lost(9000.0), *found.ended(9000.0)] == []


def test_a_position_that_went_back_makes_a_file_wait_again() -> None:
    found = leases(PARSED, MYSQL, replace(MYSQL, next_offset=9))
    assert list(found.ended(1000.0)) == []
    assert list(found.ended(9000.0)) == []


def test_a_file_that_cannot_be_moved_is_tried_ever_more_slowly_and_at_least_once_an_hour() -> None:
    waits = []
    for refused in range(1, 12):
        found = leases(replace(PARSED, at_s=1000.0, moves_refused=refused, not_moved="read-only"), MYSQL)
        waits.append(next(s for s in range(0, 4000, 10) if list(found.ended(1000.0 + s))))
    assert waits == [60, 120, 240, 480, 960, 1920, *[3600] * 5]
    assert found.not_moved() == {"4ga": 1}
    found.on_record(replace(PARSED, stage="done"))
    assert found.not_moved() == {}


def test_a_refusal_by_a_clock_that_was_ahead_delays_no_command() -> None:
    found = leases(replace(PARSED, at_s=4600.0, moves_refused=1, not_moved="no answer"), MYSQL)
    assert list(found.ended(1000.0)) == []
    assert len(list(found.ended(1000.0 + found.lease_s))) == 1


def test_a_clock_that_is_set_back_delays_no_command() -> None:
    found = leases(PARSED, MYSQL)
    assert list(found.ended(4600.0)) == []
    assert list(found.ended(1000.0)) == []
    assert len(list(found.ended(1000.0 + found.lease_s))) == 1


def test_a_file_that_cannot_be_moved_keeps_the_time_at_which_it_was_stored() -> None:
    found = leases(replace(PARSED, stored_s=500.0, moves_refused=1), MYSQL)
    assert [command.status.stored_s for command in found.ended(1000.0)] == [500.0]


def test_a_file_that_left_the_ledger_is_forgotten() -> None:
    found = leases(PARSED, MYSQL)
    assert list(found.ended(1000.0)) == []
    found.on_removed("f1")
    assert list(found.ended(9000.0)) == []
    assert found.counts() == {"waiting": 0, "moving": 0}
