"""The ledger decides whether an announcement was answered before, by any sequence of statuses."""

from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.history import FileHistory, histories, is_older
from services.fetcher.intake.backlog import Backlog
from shared.kafka.record import Record, TopicPartition
from shared.messages import FileFound, FileStatus, SinkPosition, Stage, status_of

FILE = FileFound(
    file_id="0123456789abcdef", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
)  # fmt: skip


def history(*statuses: tuple[Stage, int]) -> FileHistory:
    """The history of statuses given by stage and attempt; those that were read have figures."""
    said = [
        replace(status_of(replace(FILE, attempt=attempt), stage, float(n)), values=7 * (stage in {"parsed", "done"}))
        for n, (stage, attempt) in enumerate(statuses)
    ]
    records = [Record("", 0, n, s.file_id.encode(), s.encode(), 0.0) for n, s in enumerate(said)]
    return histories(records, [FILE.file_id])[FILE.file_id]


def answer(found: FileHistory, attempt: int, *, is_missing: bool = False) -> tuple[str, bool] | None:
    answered = found.answer_to(replace(FILE, attempt=attempt), is_missing=is_missing, now_s=9.0)
    return (answered.status.stage, answered.is_hidden) if answered else None


def test_an_announcement_is_answered_by_its_own_attempt_or_a_later_one() -> None:
    assert answer(history(("found", 1), ("fetching", 1)), 1) is None
    assert answer(history(("found", 1), ("postponed", 1)), 1) == ("postponed", False)
    assert answer(history(("found", 1), ("postponed", 1), ("found", 2)), 1) == ("postponed", False)
    assert answer(history(("found", 1), ("postponed", 1), ("found", 2)), 2) is None
    assert answer(history(("found", 2), ("parsed", 2)), 1) == ("parsed", False)


def test_a_status_that_a_second_announcement_hid_is_published_again() -> None:
    assert answer(history(("done", 1), ("fetching", 1)), 1) == ("done", True)
    assert answer(history(("done", 1), ("lost", 1)), 1) == ("done", True)
    assert answer(history(("done", 1), ("found", 2)), 1) == ("done", False)  # the second one is answered later
    assert answer(history(("error", 1), ("postponed", 1)), 1) == ("error", False)  # a person wants it retried


def test_a_file_that_was_read_is_read_again_only_for_a_retry_or_a_backfill() -> None:
    raced = history(("done", 1), ("found", 2), ("fetching", 2))  # its lease ended while it was done
    assert answer(raced, 2) == ("done", True)
    assert raced.answer_to(replace(FILE, attempt=2, lies_at="/pm/done/A"), is_missing=False, now_s=9.0) is None
    retried = (("error", 1), ("postponed", 1), ("found", 2))
    assert answer(history(*retried), 2) is None  # type: ignore[arg-type]
    assert answer(history(*retried, ("parsed", 2), ("done", 2), ("found", 3)), 3) == ("done", True)  # type: ignore[arg-type]


def test_a_missing_file_is_what_it_became_whichever_announcement_led_to_it() -> None:
    assert answer(history(("done", 1), ("found", 2), ("fetching", 2)), 2, is_missing=True) == ("done", True)
    assert answer(history(("done", 1), ("postponed", 1), ("found", 2), ("fetching", 2)), 2) is None
    assert answer(history(("postponed", 1), ("found", 2)), 2, is_missing=True) is None
    assert answer(history(("lost", 1)), 1, is_missing=True) is None
    unsettled = history(("parsed", 1), ("postponed", 1), ("found", 2))  # its batches left the topic, for example
    assert answer(unsettled, 2, is_missing=True) is None
    assert answer(history(("error", 1), ("postponed", 1), ("found", 2)), 2, is_missing=True) == ("error", True)


@given(st.lists(st.tuples(st.sampled_from(get_args(Stage)), st.integers(1, 3)), min_size=1, max_size=8))
def test_whatever_is_published_again_was_said_before_with_its_figures(statuses: list[tuple[Stage, int]]) -> None:
    found = history(*statuses)
    for attempt in (1, 2, 3):
        for is_missing in (True, False):
            answered = found.answer_to(replace(FILE, attempt=attempt), is_missing=is_missing, now_s=9.0)
            if answered is not None:
                said = answered.status
                assert (said.stage, said.attempt) in statuses
                assert said.values == 7 * (said.stage in {"parsed", "done"})
                assert said.stage in {"parsed", "failed", "done", "error"} or not is_missing


def test_only_the_wanted_files_are_read_and_what_is_invalid_is_skipped() -> None:
    status = FileStatus(**asdict(FILE), stage="done", at_s=1.0)
    position = SinkPosition(sink="mysql", topic="t", partition=0, next_offset=1)
    records = [
        Record("", 0, 0, b"another", status.encode(), 0.0),
        Record("", 0, 1, FILE.file_id.encode(), None, 0.0),
        Record("", 0, 2, FILE.file_id.encode(), b"{}", 0.0),
        Record("", 0, 3, FILE.file_id.encode(), position.encode(), 0.0),
    ]
    assert histories(records, [FILE.file_id]) == {}


def test_what_was_in_a_partition_before_it_was_assigned_may_have_been_processed() -> None:
    ends = {0: 12, 1: 3}
    backlog = Backlog(lambda at, offset: ends[at.partition] - offset)

    def read(partition: int, *offsets: int) -> list[bool]:
        records = [Record("t", partition, offset, b"", b"", 0.0) for offset in offsets]
        for record in records:
            backlog.on_read(record)
        return [backlog.includes(record) for record in records]

    assert read(0, 10, 11, 12, 13) == [True, True, False, False]
    assert read(1, 3) == [True]  # the first one read counts as such whatever the broker says of the end
    ends[0] = 20
    assert read(0, 14, 15) == [False, False]
    assert read(0, 13, 14) == [True, True]  # it goes back: the partition was away in between
    assert TopicPartition("t", 0) in backlog.end


def test_the_history_of_a_file_that_was_removed_from_the_ledger_begins_anew() -> None:
    done, fetching = status_of(FILE, "done", 1.0), status_of(FILE, "fetching", 2.0)
    values = [done.encode(), None, None, fetching.encode()]
    records = [Record("", 0, n, FILE.file_id.encode(), value, 0.0) for n, value in enumerate(values)]
    assert histories(records, [FILE.file_id]) == {FILE.file_id: FileHistory(fetching)}
    assert histories(records[:3], [FILE.file_id]) == {}


@pytest.mark.parametrize(
    ("found_s", "attempt", "written_s", "is_old"),
    [
        (1_000.0, 1, 1_000.0, True),
        (1_000.0, 1, 9_000.0, True),  # the record was copied
        (1_000.0, 2, 9_000.0, False),  # it was announced again lately
        (1_000.0, 2, 1_500.0, True),
        (9_000.0, 1, 9_000.0, False),
        (0.0, 1, 0.0, False),  # neither time is known
        (0.0, 1, 1_000.0, True),
    ],
)
def test_an_announcement_is_as_old_as_its_first_record(
    found_s: float, attempt: int, written_s: float, is_old: bool
) -> None:
    file = replace(FILE, found_s=found_s, attempt=attempt)
    record = Record("", 0, 0, b"", b"", written_s)
    assert is_older(file, record, 5_000.0, 10_000.0) == is_old
    assert not is_older(replace(file, lies_at="/pm/done/A"), record, 5_000.0, 10_000.0)
    assert is_older(file, None, 5_000.0, 10_000.0) == (0 < found_s < 5_000 and attempt == 1)
