from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.scanner.performance_management import WaitForScan, next_run_s, run_after_s

SCHEDULE = "50 */5 * * * *"


@given(after_s=st.floats(0, 4e9))
def test_the_users_schedule_is_second_50_of_every_fifth_minute(after_s: float) -> None:
    due_s = next_run_s(SCHEDULE, after_s)
    due = datetime.fromtimestamp(due_s, UTC)
    assert (due.second, due.minute % 5) == (50, 0)
    assert 0 < due_s - after_s <= 300


def test_runs_missed_during_a_long_scan_are_made_up_by_a_single_one_at_once() -> None:
    due_s = run_after_s(SCHEDULE, 50.0, now_s=60.0)
    assert due_s == 350.0
    late_s = run_after_s(SCHEDULE, due_s, now_s=350.0 + 10 * 300)
    assert late_s == 350.0 + 10 * 300
    assert run_after_s(SCHEDULE, late_s, now_s=late_s + 10.0) == 350.0 + 11 * 300


@given(start_s=st.integers(1_774_700_000, 1_774_800_000) | st.integers(1_792_800_000, 1_792_900_000))
def test_a_change_to_or_from_daylight_saving_time_skips_no_cycle_and_repeats_none(start_s: int) -> None:
    at_s, due = float(start_s), []
    for _ in range(40):
        at_s = next_run_s(SCHEDULE, at_s, "Europe/Rome")
        due.append(at_s)
    assert {b - a for a, b in pairwise(due)} == {300.0}


def test_a_daily_schedule_follows_the_clock_of_its_zone() -> None:
    summer, winter = datetime(2026, 7, 1, tzinfo=UTC).timestamp(), datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(next_run_s("0 0 6 * * *", summer, "Europe/Rome"), UTC).hour == 4
    assert datetime.fromtimestamp(next_run_s("0 0 6 * * *", winter, "Europe/Rome"), UTC).hour == 5


@given(shift_s=st.integers(-1_000_000, 1_000_000), passed_s=st.integers(0, 300))
def test_a_clock_that_is_set_never_prolongs_the_wait_for_a_scan(shift_s: int, passed_s: int) -> None:
    wait = WaitForScan(due_s=1_300.0, latest_s=350.0)  # the clocks show 1000 and 50: 300 s to wait
    assert wait.left_s(1000.0 + passed_s, 50.0 + passed_s) == 300.0 - passed_s
    assert wait.left_s(1000.0 + passed_s + shift_s, 50.0 + passed_s) <= 300.0 - passed_s


@given(now_s=st.floats(0, 1e9), back_s=st.floats(1, 1e6))
def test_the_schedule_continues_from_the_present_after_the_clock_was_set_back(now_s: float, back_s: float) -> None:
    assert run_after_s(SCHEDULE, now_s + back_s, now_s) == next_run_s(SCHEDULE, now_s)
