"""Postponed files that were replaced or removed on their element end as lost."""

from dataclasses import replace

from services.tracker.postponed import NO_LONGER_THERE, REPLACED, PostponedFiles
from shared.messages import FileStatus

FILE = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="postponed", at_s=1000.0, found_s=900.0, reason="no answer",
)  # fmt: skip
NEWER = replace(FILE, file_id="f2", mtime_s=3, found_s=1100.0, at_s=1100.0, stage="found")


def postponed(*statuses: FileStatus) -> PostponedFiles:
    found = PostponedFiles(3600.0)
    for status in statuses:
        found.on_status(status)
    return found


def reasons(found: PostponedFiles, now_s: float = 2000.0) -> dict[str, str]:
    return {status.file_id: status.reason for status in found.ended(now_s)}


def test_a_file_is_lost_once_when_a_newer_one_is_announced_at_its_place() -> None:
    found = postponed(FILE, NEWER)
    assert list(found.ended(2000.0)) == [replace(FILE, stage="lost", at_s=2000.0, reason=REPLACED)]
    assert reasons(found) == {}
    assert not found.files


def test_a_newer_file_counts_whatever_became_of_it_since() -> None:
    assert reasons(postponed(FILE, replace(NEWER, stage="done"))) == {"f1": REPLACED}
    assert reasons(postponed(FILE, replace(NEWER, stage="postponed"))) == {"f1": REPLACED}


def test_an_older_file_or_one_at_another_place_replaces_nothing() -> None:
    older = replace(NEWER, found_s=800.0, stage="lost")
    elsewhere = [replace(NEWER, path="/pm/B"), replace(NEWER, endpoint="e2"), replace(NEWER, system="5ga")]
    assert reasons(postponed(FILE, older, *elsewhere)) == {}


def test_a_file_that_is_announced_again_is_not_replaced_any_more() -> None:
    assert reasons(postponed(FILE, NEWER, replace(FILE, stage="found"))) == {}


def test_a_file_is_lost_if_its_element_announces_others_but_not_it_for_the_whole_time() -> None:
    other = replace(NEWER, path="/pm/B", found_s=4599.0)
    found = postponed(FILE, other)
    assert reasons(found, 9999.0) == {}
    found.on_status(replace(other, endpoint="e2", found_s=9999.0))
    assert reasons(found, 99_999.0) == {}  # nobody knows whether its own element still answers
    found.on_status(replace(other, found_s=4600.0))
    assert reasons(found) == {"f1": NO_LONGER_THERE}


def test_a_retry_counts_from_the_last_time_it_was_postponed() -> None:
    again = replace(FILE, at_s=3000.0, attempt=2)
    assert reasons(postponed(FILE, again, replace(NEWER, path="/pm/B", found_s=5000.0))) == {}


def test_a_file_that_left_the_ledger_is_forgotten() -> None:
    found = postponed(FILE, NEWER)
    found.on_removed("f1")
    found.on_removed("f1")
    assert reasons(found) == {}
    assert not found.at_place
