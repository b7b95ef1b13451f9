"""Fair shares of a write, and the memory of records that wait for theirs."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.record import Record, TopicPartition
from shared.sinks.shares import ReadAhead, Shares, memory_of


def record(topic: str, partition: int, offset: int, size: int = 0) -> Record:
    return Record(topic, partition, offset, b"", b"x" * size, 1.0)


def test_a_topic_alone_may_use_the_whole_write_and_one_of_two_only_half() -> None:
    write = Shares(100, 1_000)
    write.use("a", 49, 0)
    assert (write.below(["a"], 1), write.below(["a"], 2)) == (["a"], ["a"])
    write.use("a", 1, 0)
    assert (write.below(["a"], 1), write.below(["a"], 2)) == (["a"], [])


def test_a_share_is_used_up_by_rows_or_by_bytes() -> None:
    write = Shares(100, 1_000)
    write.use("rows", 50, 10)
    write.use("bytes", 5, 500)
    write.use("neither", 49, 499)
    assert write.below(["rows", "bytes", "neither"], 2) == ["neither"]
    assert write.is_full


def test_the_topic_that_uses_the_least_comes_first() -> None:
    write = Shares(100, 1_000)
    write.use("a", 20, 0)
    write.use("b", 10, 0)
    assert write.below(["a", "b", "c"], 3) == ["c", "b", "a"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 900)),
        st.tuples(st.just("take"), st.sampled_from("abc"), st.just(0), st.just(0)),
        st.tuples(st.just("drop"), st.sampled_from("abc"), st.integers(0, 1), st.just(0)),
    )
)


@given(STEPS)
def test_records_leave_in_the_order_of_their_topic_and_dropped_partitions_leave_nothing(
    steps: list[tuple[str, str, int, int]],
) -> None:
    ahead, expected, offset = ReadAhead(), defaultdict[str, list[Record]](list), 0
    for what, topic, partition, size in steps:
        if what == "add":
            offset += 1
            one = record(topic, partition, offset, size)
            ahead.add([one])
            expected[topic].append(one)
        elif what == "take" and expected[topic]:
            assert ahead.take(topic) == expected[topic].pop(0)
        elif what == "drop":
            ahead.drop([TopicPartition(topic, partition)])
            expected[topic] = [one for one in expected[topic] if one.partition != partition]
        left = {topic: queue for topic, queue in expected.items() if queue}
        assert {topic: list(queue) for topic, queue in ahead.queues.items()} == left
        assert ahead.sizes == {topic: sum(map(memory_of, queue)) for topic, queue in left.items()}
        assert ahead.counts.total() == sum(map(len, left.values()))


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 3_000)), max_size=200), st.integers(1, 5))
def test_memory_is_bounded_by_its_limit_and_one_poll_for_each_topic(polls: list[tuple[str, int]], sharing: int) -> None:
    """A poll brings one record here, of a topic that is not stopped."""
    limit, largest = 20_000, memory_of(record("a", 0, 0, 3_000))
    ahead = ReadAhead(limit)
    for offset, (topic, size) in enumerate(polls):
        if topic not in ahead.topics_to_stop(sharing):
            ahead.add([record(topic, 0, offset, size)])
        assert ahead.sizes.total() <= limit + 5 * largest


def test_a_topic_that_was_stopped_goes_on_when_half_of_its_part_is_used() -> None:
    ahead = ReadAhead(20 * memory_of(record("a", 0, 0)))
    ahead.add(record("a", 0, offset) for offset in range(10))
    ahead.add([record("b", 0, 0)])
    assert (ahead.topics_to_stop(1), ahead.topics_to_stop(2)) == (set(), {"a"})
    for _ in range(4):
        ahead.take("a")
    assert ahead.topics_to_stop(2) == {"a"}
    for _ in range(2):
        ahead.take("a")
    assert ahead.topics_to_stop(2) == set()
