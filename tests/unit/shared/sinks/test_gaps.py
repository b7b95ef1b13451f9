"""Offsets that are not contiguous are gaps."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unreachable
from shared.kafka.record import Record, TopicPartition
from shared.ledger import OffsetGap
from shared.sinks.gaps import Contiguity, GapWatch

A, B = TopicPartition("pm.counters.4ga", 3), TopicPartition("pm.counters.4ga", 4)


def record(at: TopicPartition, offset: int) -> Record:
    return Record(at.topic, at.partition, offset, b"", b"", 1.0)


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.sets(st.integers(0, 30)))), st.integers(-1, 30))
def test_jumps_are_exactly_the_missing_offsets(chunks: list[tuple[TopicPartition, set[int]]], position: int) -> None:
    contiguity = Contiguity()
    contiguity.starts(A, position)
    contiguity.starts(B, -1)
    expected = {A: position, B: -1}
    for at, offsets in chunks:
        read = sorted(offset for offset in offsets if offset >= expected[at])
        jumps = [(found, jump) for partition, found, jump in contiguity.jumps(record(at, o) for o in read)]
        if read:
            begin = expected[at] if expected[at] >= 0 else read[0]
            missing = set(range(begin, read[-1] + 1)) - set(read)
            assert {offset for first, end in jumps for offset in range(first, end)} == missing
            expected[at] = read[-1] + 1
        else:
            assert jumps == []


def watch(first: int, end: int, found: list[OffsetGap]) -> GapWatch:
    return GapWatch("gap-test", lambda _: (first, end), found.append)


@pytest.mark.parametrize(
    ("position", "corrected", "gaps"),
    [
        (-1, {}, []),
        (10, {}, []),
        (15, {}, []),
        (20, {}, []),
        (9, {A: 10}, [(9, 10)]),
        (0, {A: 10}, [(0, 10)]),
        (21, {A: 10}, [(21, 10)]),
    ],
)
def test_a_position_outside_of_the_topic_is_a_gap(
    position: int, corrected: dict[TopicPartition, int], gaps: Sequence[tuple[int, int]]
) -> None:
    found: list[OffsetGap] = []
    watching = watch(10, 20, found)
    assert watching.starting_points({A: position}) == corrected
    assert [(gap.first, gap.next_offset) for gap in found] == gaps
    if corrected:
        watching.check([record(A, 10)])
        assert len(found) == len(gaps)  # reported once


def test_a_gap_that_cannot_be_reported_stops_the_sink_before_its_position_passes() -> None:
    def refuse(_: OffsetGap) -> None:
        raise Unreachable("Kafka does not answer")

    watching = GapWatch("gap-test", lambda _: (0, 20), refuse)
    watching.starting_points({A: 3})
    with pytest.raises(Unreachable):
        watching.check([record(A, 5)])


def test_offsets_that_start_again_are_those_of_a_new_topic() -> None:
    found: list[OffsetGap] = []
    watching = watch(0, 20, found)
    watching.starting_points({A: 15})
    watching.check([record(A, 0), record(A, 1)])
    assert [(gap.first, gap.next_offset, gap.is_new_topic) for gap in found] == [(15, 0, True)]
