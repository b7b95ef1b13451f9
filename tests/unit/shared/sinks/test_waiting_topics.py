"""Topics that the database does not take wait by themselves, in order, and nothing of them is kept twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.record import Record, TopicPartition
from shared.sinks.landing import Piece
from shared.sinks.waiting_topics import FIRST_BACKOFF_S, WaitingTopics

TOPIC = "held"


def piece(offset: int, *, starts: bool = True, ends: bool = True, partition: int = 0, topic: str = TOPIC) -> Piece:
    return Piece(Record(topic, partition, offset, b"", b"", 1.0), None, starts, ends)


def held(*pieces: Piece, took_s: float = 0.0, longest_s: float = 10.0) -> WaitingTopics:
    waiting = WaitingTopics(longest_s)
    waiting.hold(TOPIC, pieces, took_s, now_s=100.0)
    return waiting


def test_later_pieces_of_a_topic_that_waits_are_kept_behind_the_first_and_others_are_written() -> None:
    waiting = held(piece(1), piece(2))
    other = piece(1, topic="other")
    assert waiting.writable([piece(3), other, piece(4)]) == [other]
    assert [kept.record.offset for kept in waiting.take(TOPIC)] == [1, 2, 3, 4]


def test_a_topic_that_is_being_tried_is_writable_and_its_wait_ends_if_nothing_fails() -> None:
    waiting = held(piece(1))
    pieces = waiting.take(TOPIC)
    assert waiting.writable(pieces) == pieces
    waiting.tried(TOPIC)
    assert waiting.waits == {}


def test_a_try_that_fails_waits_longer_each_time_and_is_kept() -> None:
    waiting, waits_s = held(piece(1)), []
    for _ in range(8):
        waits_s.append(waiting.hold(TOPIC, waiting.take(TOPIC), 0.0, now_s=100.0))
        waiting.tried(TOPIC)
    assert waits_s[0] >= FIRST_BACKOFF_S
    assert 5.0 <= waits_s[-1] <= 10.0
    assert [kept.record.offset for kept in waiting.take(TOPIC)] == [1]


def test_a_try_that_took_long_rests_four_times_as_long_unless_no_other_topic_has_messages() -> None:
    waiting = held(piece(1), took_s=20.0)
    assert waiting.due(100.0, is_idle=True) == []
    assert waiting.due(101.0, is_idle=True) == [TOPIC]
    assert waiting.due(179.0, is_idle=False) == []
    assert waiting.due(180.0, is_idle=False) == [TOPIC]


def test_gathering_ends_when_a_topic_may_be_tried_and_is_not_cut_short_by_one_that_rests() -> None:
    waiting = held(piece(1), took_s=20.0)
    assert FIRST_BACKOFF_S / 2 <= waiting.gather_s(100.0, longest_s=1.0) <= FIRST_BACKOFF_S
    assert waiting.gather_s(100.0, longest_s=0.1) == 0.1
    assert waiting.gather_s(101.0, longest_s=1.0) == 1.0


def test_pieces_of_partitions_that_moved_away_are_dropped() -> None:
    waiting = held(piece(1), piece(1, partition=1), piece(2))
    waiting.drop([TopicPartition(TOPIC, 0)])
    assert waiting.counts() == {TopicPartition(TOPIC, 1): 1}
    assert waiting.take(TOPIC) == [piece(1, partition=1)]


FIRST, MIDDLE, LAST = piece(2, ends=False), piece(2, starts=False, ends=False), piece(2, starts=False)


@pytest.mark.parametrize(
    ("kept", "again"),
    [
        ([FIRST], [FIRST, MIDDLE, LAST]),
        ([FIRST, MIDDLE], [FIRST, MIDDLE, LAST]),
        ([FIRST, MIDDLE], [FIRST, LAST]),
        ([FIRST], [piece(2)]),
        ([FIRST, MIDDLE, LAST], [piece(2)]),
        ([piece(2)], [FIRST, LAST]),
    ],
)
def test_a_message_that_was_kept_in_part_is_whole_when_the_write_is_repeated(
    kept: list[Piece], again: list[Piece]
) -> None:
    waiting = held(piece(1), *kept)
    waiting.writable([piece(1), *again, piece(3)])
    expected = kept if kept[-1].ends else again
    assert waiting.take(TOPIC) == [piece(1), *expected, piece(3)]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=10))
def test_a_write_that_is_repeated_in_parts_keeps_each_message_once_and_in_order(parts: list[tuple[int, int]]) -> None:
    """Each part is a slice of the write, as when records are isolated after a defect."""
    whole = [piece(offset) for offset in range(20)]
    waiting = held(*whole)
    for begin, size in parts:
        assert waiting.writable(whole[begin : begin + size]) == []
    assert waiting.take(TOPIC) == whole
