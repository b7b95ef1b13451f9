"""Gathering writes: order is kept, nothing is lost or doubled, and each topic gets its share."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.kafka.record import Record, TopicPartition
from shared.messages import CounterBatch
from shared.sinks.gather import MESSAGES_PER_POLL, Gatherer
from shared.sinks.landing import Piece
from shared.sinks.limits import SinkLimits
from shared.sinks.shares import ReadAhead, memory_of
from tests.fakes.topics import Topics

ROWS = 10
BATCH = CounterBatch(
    system="s", file_id="1" * 16, element="e", group="G", job="", gp_s=900, end_s=900, end_offset_min=0, ver=1,
    counters=["a"], rows=[["o", 0, 1]] * ROWS,
)  # fmt: skip
VALUE = b"x" * 1_000


class Reading:
    """The topics as a gatherer reads them, by a clock that goes on with each poll."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.now_s = 0.0
        self.stopped: AbstractSet[str] = frozenset()
        self.timeouts: list[float] = []

    def read(self, most: int, timeout_s: float) -> Sequence[Record]:
        found = self.topics.poll(most, timeout_s)
        self.timeouts.append(timeout_s)
        self.now_s += 0.001 if found else timeout_s
        return found

    def unread(self) -> Mapping[str, int]:
        left: Counter[str] = Counter()
        for at in self.topics.logs:
            left[at.topic] += self.topics.lag(at, self.topics.delivered[at])
        return +left

    def stop_reading(self, topics: AbstractSet[str]) -> None:
        for change, some in ((self.topics.pause, topics - self.stopped), (self.topics.resume, self.stopped - topics)):
            if found := [at for at in self.topics.logs if at.topic in some]:
                change(found)
        self.stopped = set(topics)


def gatherer(topics: Topics, rows: int = 1_000, memory: int = 1 << 20) -> tuple[Gatherer, Reading]:
    reading = Reading(topics)
    limits = SinkLimits(batch_rows=rows)
    made = Gatherer(reading, lambda records: [Piece(record, BATCH) for record in records], limits, ReadAhead(memory))
    made.clock_s = lambda: reading.now_s
    return made, reading


def messages(pieces: Sequence[Piece]) -> Counter[str]:
    return Counter(piece.record.topic for piece in pieces)


def topics(queue_records: int = 1_000, **sizes: int) -> Topics:
    made = Topics(queue_records=queue_records)
    for topic, size in sizes.items():
        made.put(topic, 0, [VALUE] * size)
    return made


def test_a_topic_alone_fills_each_write() -> None:
    source = topics(flood=1_000)
    gathering, reading = gatherer(source)
    for _ in range(10):
        assert messages(gathering.gather(1.0, ())) == {"flood": 100}
    assert source.thrown_away == 0
    assert reading.timeouts.count(0.0) == 0  # a whole write was never in memory before


def test_two_topics_with_much_to_write_share_each_write_equally() -> None:
    source = topics(first=1_000, second=1_000)
    gathering, _ = gatherer(source)
    for _ in range(10):
        assert messages(gathering.gather(1.0, ())) == {"first": 50, "second": 50}


def test_a_small_topic_behind_a_flood_is_in_the_first_write_which_is_full_nevertheless() -> None:
    gathering, _ = gatherer(topics(flood=5_000, small=30))
    assert messages(gathering.gather(1.0, ())) == {"flood": 70, "small": 30}
    assert messages(gathering.gather(1.0, ())) == {"flood": 100}


def test_a_flood_that_uses_up_the_memory_is_stopped_and_the_small_topic_comes() -> None:
    """The small topic is behind 1,000 messages in the queue of Kafka's client; memory has room for 200."""
    source = topics(flood=5_000, small=30)
    gathering, reading = gatherer(source, memory=2 * 100 * memory_of(Record("flood", 0, 0, b"e", VALUE, 1.0)))
    assert messages(gathering.gather(1.0, ())) == {"flood": 70, "small": 30}
    assert reading.stopped == set()  # so that Kafka's client fetches while the database writes
    thrown_away, written = source.thrown_away, 70
    assert thrown_away > 0
    while written < 5_000:
        found = messages(gathering.gather(1.0, ()))
        assert found["flood"] == min(100, 5_000 - written)
        written += found["flood"]
    assert reading.stopped == set()
    assert source.thrown_away == thrown_away  # alone, it is never stopped again


def test_a_topic_of_which_nothing_comes_costs_one_wait_only() -> None:
    """Kafka is known to have something of it, but its partition answers no fetch."""
    source = topics(flood=5_000, silent=10)
    source.logs[TopicPartition("silent", 0)].clear()
    gathering, reading = gatherer(source)
    known = {"silent": 10, "flood": 1_000}
    reading.unread = lambda: known  # type: ignore[method-assign]
    first = gathering.gather(1.0, ())
    assert messages(first) == {"flood": 100}
    took_s = reading.now_s
    for _ in range(9):
        assert messages(gathering.gather(1.0, ())) == {"flood": 100}
    assert reading.now_s - took_s < took_s
    assert gathering.silent == {"silent"}
    source.put("silent", 0, [VALUE] * 10)
    del known["silent"]
    while not messages(gathering.gather(1.0, ()))["silent"]:
        assert gathering.silent == {"silent"}
    assert gathering.silent == set()


def test_a_topic_that_waits_stays_in_memory_up_to_its_part_and_the_others_fill_the_writes() -> None:
    source = topics(held=10_000, other=3_000)
    memory = 200 * memory_of(Record("flood", 0, 0, b"e", VALUE, 1.0))
    gathering, reading = gatherer(source, memory=memory)
    for _ in range(30):
        assert messages(gathering.gather(1.0, {"held"})) == {"other": 100}
    assert reading.stopped == {"held"}
    assert 100 <= gathering.ahead.counts[TopicPartition("held", 0)] <= 200 + MESSAGES_PER_POLL
    assert messages(gathering.gather(1.0, ())) == {"held": 100}


SIZES = st.dictionaries(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), st.integers(0, 120), min_size=1)


@settings(deadline=None)
@given(SIZES, st.integers(1, 300), st.integers(1, 200), st.integers(1, 60), st.data())
def test_every_record_is_gathered_once_in_the_order_of_its_partition_and_each_topic_gets_its_share(
    sizes: dict[tuple[str, int], int], rows: int, queued: int, memory: int, data: st.DataObject
) -> None:
    source = Topics(per_fetch=50, queue_records=queued)
    for (topic, partition), size in sizes.items():
        source.put(topic, partition, [VALUE] * size)
    gathering, reading = gatherer(source, rows, memory * memory_of(Record("a", 0, 0, b"e", VALUE, 1.0)))
    found, left = defaultdict[TopicPartition, list[int]](list), Counter(source.by_topic())
    while +left:
        waiting = data.draw(st.sets(st.sampled_from("abcd"), max_size=2)) if data.draw(st.booleans()) else set()
        ready = {topic: len(queue) for topic, queue in gathering.ahead.queues.items() if topic not in waiting}
        pieces = gathering.gather(0.1, waiting)
        share = rows / max(1, len(+left))
        got = messages(pieces)
        assert not got.keys() & waiting
        assert all(got[topic] >= size or got[topic] * ROWS >= share for topic, size in ready.items())
        assert got.total() * ROWS <= 2 * rows + len(got) * ROWS
        for piece in pieces:
            found[piece.topic_partition].append(piece.record.offset)
        left -= got
    assert {(at.topic, at.partition): offsets for at, offsets in found.items()} == {
        key: list(range(size)) for key, size in sizes.items() if size
    }
    assert gathering.ahead.sizes.total() == 0
    assert not source.paused or reading.stopped
