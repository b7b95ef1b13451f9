"""The one rule that says when a file is stored."""

from hypothesis import given
from hypothesis import strategies as st

from shared.messages import SinkPosition
from shared.sink_positions import SinkPositions

SINKS = ("mysql", "clickhouse")
TOPICS = ("pm.counters.4ga", "pm.counters.5ga")
told = st.builds(
    SinkPosition,
    sink=st.sampled_from(SINKS),
    topic=st.sampled_from(TOPICS),
    partition=st.integers(0, 11),
    next_offset=st.integers(0, 50),
)


@given(st.lists(told), st.sampled_from(TOPICS), st.integers(0, 11), st.integers(0, 50), st.sets(st.sampled_from(SINKS)))
def test_a_file_is_stored_where_the_newest_position_is_beyond_its_last_offset(
    positions: list[SinkPosition], topic: str, partition: int, last_offset: int, required: set[str]
) -> None:
    known = SinkPositions()
    for position in positions:
        known.record(position)
    newest = {p.sink: p.next_offset for p in positions if (p.topic, p.partition) == (topic, partition)}
    stored = {sink for sink in SINKS if newest.get(sink, 0) >= last_offset + 1}
    assert {sink for sink in SINKS if known.is_stored(sink, topic, partition, last_offset)} == stored
    assert known.is_stored_in_all(required, topic, partition, last_offset) == (bool(required) and required <= stored)
    assert known.stored_before(SINKS, topic, partition) == min(newest.get(sink, 0) for sink in SINKS)
    assert known.in_partition(topic, partition) == newest


def test_it_keeps_its_positions_in_the_mapping_it_is_given_under_the_keys_of_the_trackers_table() -> None:
    table = {"mysql/pm.counters.4ga/5": 9}
    known = SinkPositions(table)
    assert known.is_stored("mysql", "pm.counters.4ga", 5, 8)
    known.record(SinkPosition(sink="clickhouse", topic="pm.counters.4ga", partition=5, next_offset=3))
    assert table == {"mysql/pm.counters.4ga/5": 9, "clickhouse/pm.counters.4ga/5": 3}


def test_partition_numbers_that_end_alike_are_not_mixed_up() -> None:
    known = SinkPositions({"mysql/t/11": 4, "mysql/t/1": 7})
    assert known.in_partition("t", 1) == {"mysql": 7}


@given(st.lists(told), st.sampled_from(TOPICS), st.integers(0, 11), st.sets(st.sampled_from(SINKS), min_size=1))
def test_a_file_without_batches_is_stored_whatever_the_positions_are(
    positions: list[SinkPosition], topic: str, partition: int, required: set[str]
) -> None:
    known = SinkPositions()
    assert known.is_stored_in_all(required, topic, partition, -1)
    for position in positions:
        known.record(position)
    assert all(known.is_stored(sink, topic, partition, -1) for sink in SINKS)
    assert known.is_stored_in_all(required, topic, partition, -1)
