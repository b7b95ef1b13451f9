from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.tracker.cycles import CycleStatistics
from shared.messages import CycleFigures, FileStatus, SinkPosition

END_S = 1_795_526_100
DONE = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=100, mtime_s=END_S + 10, epoch=3,
    end_s=END_S, stage="done", at_s=END_S + 60.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
    parsed_s=END_S + 20.0, stored_s=END_S + 30.0,
)  # fmt: skip
MYSQL = SinkPosition(sink="mysql", topic="pm.counters.4ga", partition=5, next_offset=20)
PLANTED: Sequence[FileStatus | SinkPosition] = (
    DONE,
    replace(DONE, file_id="f2", path="/pm/A.again"),  # one element, two files
    replace(
        DONE, file_id="f3", endpoint="e3", element="renamed", mtime_s=END_S + 901, last_offset=30
    ),  # late, not stored
    replace(DONE, file_id="f4", endpoint="e4", element="e4", stage="error", topic="", values=0),  # corrupt
    replace(DONE, file_id="f5", endpoint="e5", element="e5", stage="lost", topic="", values=0),
    replace(DONE, file_id="f6", endpoint="e6", element="e6", quarantined=2, dropped=1),
    replace(DONE, file_id="f7", end_s=END_S + 900),  # of the next cycle
    MYSQL,
)


def figures(records: Sequence[FileStatus | SinkPosition]) -> CycleFigures:
    statistics = CycleStatistics({"4ga": ("mysql", "clickhouse")}, lateness_s=900, keep_s=86_400)
    for record in records:
        statistics.told(record, END_S)
    return statistics.figures("4ga", END_S, ["e1", "e2", "e3", "e4", "e5", "e6"])


def test_the_figures_of_planted_files_are_the_known_ones() -> None:
    assert figures(PLANTED) == CycleFigures(
        system="4ga", end_s=END_S, expected=6, missing=["e2"], files=6, elements=5, late=1, parsed=4,
        stored={"mysql": 3, "clickhouse": 0}, done=4, error=1, lost=1, postponed=0, quarantined=1, values=28,
        values_stored={"mysql": 21, "clickhouse": 0}, values_quarantined=2, values_dropped=1, bytes=600,
        latency_s={"written": [10, 901, 901], "parsed": [20.0, 20.0, 20.0], "stored": [30.0, 30.0, 30.0]},
    )  # fmt: skip


@given(st.permutations(PLANTED), st.lists(st.sampled_from(PLANTED)))
def test_the_order_of_files_and_duplicates_change_nothing(
    records: list[FileStatus | SinkPosition], again: list[FileStatus | SinkPosition]
) -> None:
    assert figures([*records, *again]) == figures(PLANTED)


def test_a_cycle_closes_at_its_lateness_and_a_late_file_opens_it_again() -> None:
    statistics = CycleStatistics({"4ga": ("mysql",)}, lateness_s=900, keep_s=86_400)
    for record in (DONE, MYSQL):
        statistics.told(record, END_S)
    expected = {"4ga": ["e1", "e2"]}
    assert list(statistics.closed(END_S + 899, expected)) == []
    (closed,) = statistics.closed(END_S + 900, expected)
    assert closed.missing == ["e2"]
    assert list(statistics.closed(END_S + 2000, expected)) == []
    statistics.told(replace(DONE, file_id="f2", endpoint="e2", element="e2", mtime_s=END_S + 1500), END_S)
    (again,) = statistics.closed(END_S + 2001, expected)
    assert (again.missing, again.late, again.files) == ([], 1, 2)


def test_a_cycle_is_forgotten_in_the_end_and_what_comes_after_that_does_not_replace_its_figures() -> None:
    statistics = CycleStatistics({"4ga": ("mysql",)}, lateness_s=900, keep_s=86_400)
    statistics.told(DONE, END_S)
    assert list(statistics.closed(END_S + 86_400, {})) == []
    statistics.told(replace(DONE, file_id="f2"), END_S + 86_400)
    assert list(statistics.closed(END_S + 86_401, {})) == []
    assert not statistics.files
