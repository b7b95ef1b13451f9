from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.intake.epochs import Epochs
from services.fetcher.intake.offsets import OffsetOrder


@given(order=st.permutations(range(20)))
def test_an_offset_is_committed_only_when_all_before_it_are_done(order: list[int]) -> None:
    in_order = OffsetOrder()
    for offset in range(20):
        in_order.take(offset)
    committed = 0
    for number, offset in enumerate(order):
        moved = in_order.finish(offset)
        committed = committed if moved is None else moved
        done = set(order[: number + 1])
        assert set(range(committed)) <= done
        assert committed not in done
    assert committed == 20


def test_gaps_in_a_compacted_or_transactional_topic_are_skipped() -> None:
    in_order = OffsetOrder()
    in_order.take(3)
    in_order.take(9)
    assert in_order.finish(9) is None
    assert in_order.finish(3) == 10


def test_a_former_leader_is_discarded_only_in_partitions_where_its_successor_has_announced() -> None:
    epochs = Epochs()
    assert epochs.current("4ga", 0, 1)
    assert epochs.current("4ga", 0, 2)
    assert not epochs.current("4ga", 0, 1)
    assert epochs.current("4ga", 1, 1)  # announced before the change, in another partition
    assert epochs.current("5ga", 0, 1)
    assert epochs.current("4ga", 0, 2)


def test_an_epoch_that_nobody_announces_any_more_keeps_no_leader_out() -> None:
    now_s = 0.0
    epochs = Epochs(clock_s=lambda: now_s)
    assert epochs.current("4ga", 0, 2**62)  # hostile
    assert not epochs.current("4ga", 0, 7)
    now_s = 899.0
    assert not epochs.current("4ga", 0, 7)
    now_s = 900.0
    assert epochs.current("4ga", 0, 7)
    assert not epochs.current("4ga", 0, 6)
