"""Each record that waits is taken once, in order, or needs no work as a newer one of its file waits."""

from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.intake.offsets import OffsetOrder
from services.fetcher.intake.waiting_records import MOST_PER_TURN, TakenRecord, Ticket, WaitingRecords
from shared.kafka.record import Record, TopicPartition

RECORDS = st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("ABCDE"), st.integers(1, 3)), max_size=40)


def taken(offset: int) -> TakenRecord:
    return TakenRecord(Record("t", offset % 2, offset, b"", b"", 0.0), OffsetOrder())


@given(records=RECORDS, most=st.integers(1, 5))
def test_every_record_is_taken_or_superseded_and_of_each_file_the_highest_attempt_is_taken(
    records: list[tuple[str, str, int]], most: int
) -> None:
    waiting, superseded, found = WaitingRecords(), list[int](), dict[str, list[int]]()
    for offset, (pool, key, rank) in enumerate(records):
        if before := waiting.put(Ticket(pool, key, rank), taken(offset)):
            superseded.append(before.record.offset)
    assert waiting.count == len({(pool, key) for pool, key, _ in records})
    for pool in "xy":
        while some := waiting.take(pool, most):
            assert len(some) <= most
            found.setdefault(pool, []).extend(one.record.offset for one in some)
    offsets = [offset for several in found.values() for offset in several]
    assert sorted([*superseded, *offsets]) == list(range(len(records)))
    assert (waiting.count, waiting.of_pool) == (0, {})
    for pool, several in found.items():
        first = list(dict.fromkeys(key for p, key, _ in records if p == pool))
        assert [records[offset][1] for offset in several] == first
        for offset in several:
            ranks = [rank for p, key, rank in records if (p, key) == (pool, records[offset][1])]
            assert records[offset][2] == max(ranks)


@given(records=RECORDS)
def test_what_waits_of_a_lost_partition_is_dropped_and_nothing_else(records: list[tuple[str, str, int]]) -> None:
    waiting = WaitingRecords()
    for offset, (pool, _, rank) in enumerate(records):
        waiting.put(Ticket(pool, str(offset), rank), taken(offset))
    waiting.drop([TopicPartition("t", 1)])
    assert waiting.count == (len(records) + 1) // 2
    left = [one.record.offset for pool in "xy" for one in waiting.take(pool, 100)]
    assert sorted(left) == [offset for offset in range(len(records)) if offset % 2 == 0]
    assert (waiting.count, waiting.of_pool) == (0, {})


def test_the_hosts_of_a_pool_have_turns_and_one_that_has_its_share_is_passed_over() -> None:
    waiting = WaitingRecords()
    for offset in range(100):
        waiting.put(Ticket("x", str(offset), 1, "flooding"), taken(offset))
    for offset in range(100, 105):
        waiting.put(Ticket("x", str(offset), 1, f"h{offset}"), taken(offset))
    first = [one.record.offset for one in waiting.take("x", 20)]
    assert first == [*range(MOST_PER_TURN), 100, 101, 102, 103]
    room = {"flooding": 3}
    second = [one.record.offset for one in waiting.take("x", 20, lambda host: room.get(host, 20))]
    assert second == [104, *range(MOST_PER_TURN, MOST_PER_TURN + 3)]
    assert waiting.take("x", 20, lambda _: 0) == []
    assert waiting.count == 100 - MOST_PER_TURN - 3 == waiting.counts()["x"]
