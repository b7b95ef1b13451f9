from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tracker.cycles import CycleStatistics
from services.tracker.states import State
from shared.cycle_figures import CycleFigures
from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, SetAside, SinkPosition, Stage
from shared.stages import SETTLED_EARLIER

END_S = 1_795_526_100
DONE = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=100, mtime_s=END_S + 10, epoch=3,
    end_s=END_S, stage="done", at_s=END_S + 60.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
    batches=2, rows=4, suspect=1, found_s=END_S + 12.0, fetched_s=END_S + 15.0, parsed_s=END_S + 20.0,
    stored_s=END_S + 30.0,
)  # fmt: skip
ASIDE = SetAside(
    sink="mysql", topic="pm.counters.4ga", partition=5, offset=7, file_id="f2", element="e1", values=3,
    reason="counters a: unknown", at_s=END_S + 25.0, content="0" * 16,
)  # fmt: skip
MYSQL = SinkPosition(sink="mysql", topic="pm.counters.4ga", partition=5, next_offset=20)
PLANTED: Sequence[LedgerRecord] = (
    DONE,
    replace(DONE, file_id="f2", path="/pm/A.again"),  # one element, two files
    replace(
        DONE, file_id="f3", endpoint="e3", element="renamed", found_s=END_S + 901.0, last_offset=30, tries=3
    ),  # late by our clock whatever its own says, not stored
    replace(
        DONE, file_id="f4", endpoint="e4", element="e4", stage="error", topic="", values=0, parsed_s=0.0
    ),  # corrupt
    replace(DONE, file_id="f5", endpoint="e5", element="e5", stage="lost", topic="", values=0, fetched_s=0.0),
    replace(DONE, file_id="f6", endpoint="e6", element="e6", quarantined=2, dropped=1, attempt=2),
    ASIDE,
    replace(DONE, file_id="f7", end_s=END_S + 900),  # of the next cycle
    MYSQL,
)


def figures(records: Sequence[LedgerRecord]) -> CycleFigures:
    statistics = CycleStatistics(lambda _: ("mysql", "clickhouse"), lateness_s=900, keep_s=86_400)
    for record in records:
        statistics.on_record(record, END_S)
    return statistics.figures("4ga", END_S, ["e1", "e2", "e3", "e4", "e5", "e6"], END_S + 1000.0)


def test_the_figures_of_planted_files_are_the_known_ones() -> None:
    assert figures(PLANTED) == CycleFigures(
        system="4ga", end_s=END_S, told_s=END_S + 1000.0, expected=6, missing=["e2"], elements=5, found=6, late=1,
        fetched=5, parsed=4, stored={"mysql": 3, "clickhouse": 0}, done=4, error=1, lost=1, postponed=0, quarantined=2,
        bytes=600, batches=8, rows=16, suspect=4, values=28, values_stored={"mysql": 18, "clickhouse": 0},
        values_set_aside={"mysql": 3, "clickhouse": 0}, values_quarantined=2, values_dropped=1, retries=3,
        latency_s={
            "written": [10, 10, 10], "found": [12.0, 901.0, 901.0], "fetched": [15.0, 15.0, 15.0],
            "parsed": [20.0, 20.0, 20.0], "stored": [30.0, 30.0, 30.0],
        },
        took_s=18.0,
    )  # fmt: skip


def test_a_file_in_a_gap_of_a_sink_is_not_stored_there() -> None:
    ahead = replace(MYSQL, next_offset=100)
    gap = OffsetGap(sink="mysql", topic=DONE.topic, partition=5, first=8, next_offset=12, at_s=END_S + 40.0)
    clickhouse = replace(ahead, sink="clickhouse")
    first = replace(DONE, file_id="f2", first_offset=6, last_offset=7)
    found = figures([replace(DONE, first_offset=8), first, ahead, clickhouse, gap])
    assert found.stored == {"mysql": 1, "clickhouse": 2}
    assert found.values_stored == {"mysql": 7, "clickhouse": 14}


def test_rates_follow_from_the_counts() -> None:
    assert figures(PLANTED).rates == {
        "files_per_s": 0.3333, "values_per_s": 1.5556, "bytes_per_s": 33.3333, "rows_per_batch": 2.0,
        "suspect_share": 0.25, "error_share": 0.1667, "retries_per_file": 0.5,
    }  # fmt: skip


def test_values_that_were_set_aside_and_sent_again_count_as_stored() -> None:
    statistics = CycleStatistics(lambda _: ("mysql",), lateness_s=900, keep_s=86_400)
    for record in (replace(DONE, file_id="f2"), ASIDE, ASIDE, MYSQL):
        statistics.on_record(record, END_S)
    (refused,) = statistics.closed(END_S + 900, lambda _: ())
    assert (refused.values_stored, refused.values_set_aside, refused.quarantined) == ({"mysql": 4}, {"mysql": 3}, 1)
    statistics.on_removed(ASIDE.key)
    (landed,) = statistics.closed(END_S + 901, lambda _: ())
    assert (landed.values_stored, landed.values_set_aside, landed.quarantined) == ({"mysql": 7}, {"mysql": 0}, 0)


def test_a_closed_cycle_is_computed_again_only_if_it_changed() -> None:
    statistics = CycleStatistics(lambda _: ("mysql",), lateness_s=900, keep_s=86_400)
    statistics.on_record(replace(DONE, stage="parsed"), END_S)

    def closed() -> list[dict[str, int]]:
        return [figures.stored for figures in statistics.closed(END_S + 900, lambda _: ())]

    assert closed() == [{"mysql": 0}]
    statistics.on_record(replace(MYSQL, partition=6), END_S)
    statistics.on_record(replace(MYSQL, next_offset=9), END_S)
    assert closed() == []
    statistics.on_record(MYSQL, END_S)
    assert closed() == [{"mysql": 1}]
    statistics.on_record(replace(MYSQL, next_offset=21), END_S)
    assert closed() == []


def test_a_system_that_was_removed_from_the_configuration_keeps_its_figures() -> None:
    statistics = CycleStatistics(lambda _: (), lateness_s=900, keep_s=86_400)
    statistics.on_record(DONE, END_S)
    assert list(statistics.closed(END_S + 900, lambda _: ())) == []


def test_the_state_of_a_file_follows_from_its_status_the_positions_and_the_dead_letters() -> None:
    statistics = CycleStatistics(lambda _: ("mysql",), lateness_s=900, keep_s=86_400)
    for n, stage in enumerate(get_args(Stage)):
        statistics.on_record(replace(DONE, file_id=f"f{n}", stage=stage), END_S)
    statistics.on_record(replace(DONE, file_id="a1", stage="parsed", last_offset=19), END_S)
    statistics.on_record(replace(DONE, file_id="a2", stage="parsed", last_offset=20), END_S)
    statistics.on_record(replace(DONE, file_id="a3", stage="parsed", last_offset=19, moves_refused=1), END_S)
    statistics.on_record(replace(DONE, file_id="f2"), END_S)  # in place of postponed
    statistics.on_record(replace(ASIDE, file_id="f2"), END_S)
    statistics.on_record(MYSQL, END_S)
    one_each = dict.fromkeys(get_args(State), 1) | {"stored": 2, "postponed": 0}
    assert {state: statistics.states("4ga", ["mysql"])[state] for state in get_args(State)} == one_each


@given(st.permutations(PLANTED), st.lists(st.sampled_from(PLANTED)))
def test_the_order_of_files_and_duplicates_change_nothing(
    records: list[LedgerRecord], again: list[LedgerRecord]
) -> None:
    assert figures([*records, *again]) == figures(PLANTED)


def test_a_cycle_closes_at_its_lateness_and_a_late_file_opens_it_again() -> None:
    statistics = CycleStatistics(lambda _: ("mysql",), lateness_s=900, keep_s=86_400)
    for record in (DONE, MYSQL):
        statistics.on_record(record, END_S)

    def expected(_: str) -> list[str]:
        return ["e1", "e2"]

    assert list(statistics.closed(END_S + 899, expected)) == []
    (closed,) = statistics.closed(END_S + 900, expected)
    assert closed.missing == ["e2"]
    assert list(statistics.closed(END_S + 2000, expected)) == []
    statistics.on_record(replace(DONE, file_id="f2", endpoint="e2", element="e2", found_s=END_S + 1500.0), END_S)
    (again,) = statistics.closed(END_S + 2001, expected)
    assert (again.missing, again.late, again.found) == ([], 1, 2)


def test_a_cycle_is_dropped_in_the_end_and_later_files_do_not_replace_its_figures() -> None:
    statistics = CycleStatistics(lambda _: ("mysql",), lateness_s=900, keep_s=86_400)
    statistics.on_record(DONE, END_S)
    assert list(statistics.closed(END_S + 86_400, lambda _: ())) == []
    statistics.on_record(replace(DONE, file_id="f2"), END_S + 86_400)
    assert list(statistics.closed(END_S + 86_401, lambda _: ())) == []
    assert not statistics.cycles


@pytest.mark.parametrize("stage", ["done", "error", "parsed", "failed"])
def test_a_second_announcement_changes_no_figure_of_a_file_that_was_read(stage: Stage) -> None:
    known = replace(DONE, stage=stage, reason="line 3: no")
    bare = replace(
        DONE, topic="", partition=-1, last_offset=-1, values=0, batches=0, rows=0, suspect=0, fetched_s=0.0,
        parsed_s=0.0, stored_s=0.0,
    )  # fmt: skip
    before = figures([known, MYSQL])
    for second in ("found", "fetching", "lost"):
        assert figures([known, MYSQL, replace(bare, stage=second)]) == before
    earlier = replace(bare, stage="done", reason=SETTLED_EARLIER)
    after = figures([known, MYSQL, earlier])
    assert (after.done, after.values, after.values_stored) == (1, before.values, before.values_stored)


def test_a_file_that_is_processed_again_has_its_new_figures() -> None:
    retried = replace(DONE, stage="postponed", topic="", values=0)
    assert figures([replace(DONE, stage="error"), retried]).error == 0
    again = replace(DONE, values=9, attempt=2, last_offset=12)
    assert figures([DONE, retried, replace(DONE, stage="found", attempt=2), again, MYSQL]).values == 9
    assert figures([DONE, again, MYSQL]).values == 9
