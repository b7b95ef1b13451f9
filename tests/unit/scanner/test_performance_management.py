from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.scanner.performance_management import next_run_s

SCHEDULE = "50 */5 * * * *"


@given(after_s=st.floats(0, 4e9))
def test_the_users_schedule_is_second_50_of_every_fifth_minute(after_s: float) -> None:
    due_s = next_run_s(SCHEDULE, after_s)
    due = datetime.fromtimestamp(due_s, UTC)
    assert (due.second, due.minute % 5) == (50, 0)
    assert 0 < due_s - after_s <= 300


def test_missed_times_are_made_up_once_not_one_by_one() -> None:
    assert next_run_s(SCHEDULE, 50.0 + 10 * 300) == 50.0 + 11 * 300
