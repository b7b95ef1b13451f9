"""The conditions under which a tracker counts as alive."""

from services.tracker.progress import progressed

ENDS = {0: 10, 1: 5}


def test_moving_offsets_are_progress_however_much_is_left() -> None:
    assert progressed({0: 1, 1: 0}, {0: 2, 1: 0}, ENDS)


def test_nothing_to_read_is_progress() -> None:
    assert progressed({0: 10, 1: 5}, {0: 10, 1: 5}, ENDS)
    assert progressed({}, {}, {})


def test_offsets_that_stand_still_before_the_end_are_no_progress() -> None:
    assert not progressed({0: 10, 1: 4}, {0: 10, 1: 4}, ENDS)


def test_a_partition_that_was_never_committed_is_still_to_be_read() -> None:
    assert not progressed({0: -1001, 1: 5}, {0: -1001, 1: 5}, ENDS)
