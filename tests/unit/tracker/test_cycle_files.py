"""The files of a cycle as numbers, and what changes them without a status of the file itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tracker.columns import Column
from services.tracker.cycle_files import CycleFiles
from services.tracker.cycles import CycleStatistics
from services.tracker.ended import ended_in_period_before, has_ended
from services.tracker.rows_by_offset import CycleRow, InSink, RowsByOffset
from shared.ledger import LedgerRecord, OffsetGap
from shared.messages import FileStatus, SetAside, SinkPosition, Stage

END_S = 1_795_526_100
TOPIC = "pm.counters.4ga"
PARSED = FileStatus(
    file_id="f1", system="4ga", endpoint="e1", element="e1", path="/pm/A", size=100, mtime_s=END_S + 10, epoch=3,
    end_s=END_S, stage="parsed", at_s=END_S + 60.0, topic=TOPIC, partition=5, first_offset=8, last_offset=9, values=7,
    batches=2, rows=4, found_s=END_S + 12.0, fetched_s=END_S + 15.0, parsed_s=END_S + 20.0,
)  # fmt: skip
MYSQL = SinkPosition(sink="mysql", topic=TOPIC, partition=5, next_offset=10)
SINKS = ("mysql", "clickhouse")
KEY = InSink("mysql", TOPIC, 5)


def statistics(*records: LedgerRecord, sinks: Sequence[str] = SINKS) -> CycleStatistics:
    found = CycleStatistics(lambda _: sinks, lateness_s=900, keep_s=86_400)
    for record in records:
        found.on_record(record, END_S)
    return found


def stored(found: CycleStatistics) -> dict[str, int]:
    return found.figures("4ga", END_S, (), END_S + 1000.0).stored


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-(2**63), 2**63 - 1)), max_size=30))
def test_a_column_keeps_any_number_of_64_bits(changes: list[tuple[int, int]]) -> None:
    column, expected = Column(), list[int]()
    for row, number in changes:
        if row < len(expected):
            column.set(row, number)
            expected[row] = number
        else:
            column.append(number)
            expected.append(number)
        assert list(column.numbers) == expected


def test_small_numbers_take_one_byte_each() -> None:
    column = Column()
    for number in (0, 127, -128):
        column.append(number)
    assert column.numbers.itemsize == 1
    column.append(128)
    assert column.numbers.itemsize == 2


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=30))
def test_a_file_is_found_by_its_id_and_keeps_its_row(ids: list[int]) -> None:
    source = statistics(PARSED).cycles["4ga", END_S]
    cycle, file = CycleFiles("4ga", END_S, 0), source.file(0)
    rows = {file_id: cycle.add(file_id, file._replace(values=n)) for n, file_id in enumerate(ids)}
    assert list(rows.values()) == list(range(len(ids)))
    for n, file_id in enumerate(ids):
        assert cycle.row_of(file_id) == n
        assert cycle.file(n).values == n
        assert list(cycle.file_ids([n])) == [f"{file_id:016x}"]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.integers(0, 99))), st.integers(0, 60))
def test_rows_come_in_order_of_their_offsets_and_those_of_a_dropped_cycle_never(
    added: list[tuple[int, int, int]], position: int
) -> None:
    rows = RowsByOffset()
    for offset, cycle, row in added:
        rows.add(KEY, offset, CycleRow(cycle, row))
    rows.drop({3})
    passed = sorted((offset, cycle, row) for offset, cycle, row in added if cycle != 3 and offset < position)
    assert list(rows.passed(KEY, position)) == [CycleRow(cycle, row) for _, cycle, row in passed]
    assert list(rows.passed(KEY, position)) == []


STATUSES = st.builds(
    lambda file_id, stage, last, quarantined, refused: replace(
        PARSED, file_id=file_id, stage=stage, last_offset=last, first_offset=max(last - 1, -1), quarantined=quarantined,
        topic="" if stage in {"found", "fetching", "lost"} else TOPIC, moves_refused=refused,
    ),
    st.sampled_from(["f1", "f2", "f3"]),
    st.sampled_from(get_args(Stage)),
    st.integers(-1, 20),
    st.integers(0, 1),
    st.integers(0, 1),
)  # fmt: skip
POSITIONS = st.builds(
    lambda sink, next_offset: replace(MYSQL, sink=sink, next_offset=next_offset),
    st.sampled_from(SINKS),
    st.integers(0, 25),
)
GAPS = st.builds(
    lambda sink, first, length: OffsetGap(
        sink=sink, topic=TOPIC, partition=5, first=first, next_offset=first + length, at_s=END_S + 15.0
    ),
    st.sampled_from(SINKS),
    st.integers(0, 20),
    st.integers(-5, 5),
)


@given(st.lists(STATUSES | POSITIONS | GAPS, max_size=25))
def test_positions_and_gaps_count_the_same_whether_they_come_before_the_files_or_after_them(
    records: list[LedgerRecord],
) -> None:
    statuses = [record for record in records if isinstance(record, FileStatus)]
    others = [record for record in records if not isinstance(record, FileStatus)]
    mixed, at_first = statistics(*records), statistics(*others, *statuses)
    assert mixed.figures("4ga", END_S, (), 1.0) == at_first.figures("4ga", END_S, (), 1.0)
    for complete_on in (("mysql",), SINKS, ()):
        assert mixed.states("4ga", complete_on) == at_first.states("4ga", complete_on)


def test_a_position_that_went_back_takes_files_back_until_the_sink_has_them_again() -> None:
    found = statistics(PARSED, MYSQL)
    assert stored(found) == {"mysql": 1, "clickhouse": 0}
    found.due(END_S + 900.0)
    found.on_record(replace(MYSQL, next_offset=9), END_S)
    assert stored(found) == {"mysql": 0, "clickhouse": 0}
    assert found.due(END_S + 900.0) == [("4ga", END_S)]
    found.on_record(MYSQL, END_S)
    assert stored(found) == {"mysql": 1, "clickhouse": 0}
    assert found.due(END_S + 900.0) == [("4ga", END_S)]


def test_a_sink_that_is_added_to_the_configuration_counts_the_files_that_it_stores() -> None:
    sinks = ["mysql"]
    found = statistics(PARSED, MYSQL, sinks=sinks)
    sinks.append("clickhouse")
    found.due(END_S + 900.0)
    found.on_record(replace(MYSQL, sink="clickhouse"), END_S)
    assert stored(found) == {"mysql": 1, "clickhouse": 1}
    assert found.due(END_S + 900.0) == [("4ga", END_S)]


def test_a_sink_that_had_stored_files_before_it_was_configured_counts_them_at_once() -> None:
    sinks = ["mysql"]
    found = statistics(PARSED, MYSQL, replace(MYSQL, sink="clickhouse"), sinks=sinks)
    sinks.append("clickhouse")
    assert found.due(END_S + 900.0) == [("4ga", END_S)]
    assert stored(found) == {"mysql": 1, "clickhouse": 1}


@pytest.mark.parametrize("early", [True, False])
def test_values_set_aside_count_whether_they_are_told_before_the_file_or_after_it(early: bool) -> None:
    aside = SetAside(
        sink="mysql", topic=TOPIC, partition=5, offset=9, file_id="00000000000000f1", element="e1", values=3,
        reason="unknown", at_s=END_S + 25.0, content="0" * 16,
    )  # fmt: skip
    file = replace(PARSED, file_id="00000000000000f1", stage="done")
    found = statistics(*((aside, file, MYSQL) if early else (file, aside, MYSQL)))
    figures = found.figures("4ga", END_S, (), 1.0)
    assert (figures.values_set_aside["mysql"], figures.values_stored["mysql"], figures.quarantined) == (3, 4, 1)
    assert found.states("4ga", ["mysql"]) == {"quarantined": 1}
    found.on_removed(aside.key)
    assert found.states("4ga", ["mysql"]) == {"done": 1}
    found.on_removed(file.file_id)  # it left the ledger; it still counts in its cycle
    assert found.figures("4ga", END_S, (), 1.0).done == 1


def test_of_a_dropped_cycle_nothing_is_kept() -> None:
    aside = SetAside(
        sink="mysql", topic=TOPIC, partition=5, offset=9, file_id="f2", element="e1", values=3, reason="unknown",
        at_s=END_S + 25.0, content="0" * 16,
    )  # fmt: skip
    found = statistics(PARSED, aside)
    found.due(END_S + 86_500.0)
    assert (found.cycles, found.by_number, found.early_parts) == ({}, {}, {})
    assert not any(found.not_stored.heaps.values())
    found.on_record(MYSQL, END_S + 86_500.0)
    found.on_record(PARSED, END_S + 86_500.0)
    found.on_record(aside, END_S + 86_500.0)
    assert (found.cycles, found.early_parts) == ({}, {})


@pytest.mark.parametrize("stage", get_args(Stage))
def test_a_record_of_history_is_recognised_without_decoding_it(stage: Stage) -> None:
    value = replace(PARSED, stage=stage, path='/pm/","stage":"done","end_s":1,"').encode()
    ended = stage in {"done", "error", "lost"}
    assert has_ended(value) == ended
    assert ended_in_period_before(value, END_S) == ended
    assert not ended_in_period_before(value, END_S - 1)
    assert not ended_in_period_before(MYSQL.encode(), END_S)
