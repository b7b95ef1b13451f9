from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.partitions import DAYS_AHEAD, Plan, day_of, listed, name, new, plan

TODAY = date(2026, 3, 1)
days = st.sets(st.integers(-400, 400), min_size=1).map(lambda found: [TODAY + timedelta(n) for n in found])


def test_a_partition_is_called_after_its_day_and_ends_with_it() -> None:
    assert listed([date(2023, 12, 31)]) == (
        "(PARTITION d20231231 VALUES LESS THAN ('2024-01-01'), PARTITION later VALUES LESS THAN (MAXVALUE))"
    )
    assert day_of("d20231231") == date(2023, 12, 31)
    assert day_of("later") is None
    assert day_of("p0") is None


def test_each_day_one_is_made_ahead_and_one_goes() -> None:
    there = new(TODAY, 30)
    assert plan(there, TODAY, 30) == Plan()
    assert plan(there, TODAY + timedelta(1), 30) == Plan([TODAY + timedelta(DAYS_AHEAD + 1)], [TODAY - timedelta(30)])


def test_without_a_retention_none_goes() -> None:
    assert plan(new(TODAY, 30), TODAY + timedelta(500), 0).drop == []


@given(there=days, retention_days=st.integers(0, 100))
def test_no_day_that_is_kept_goes_and_what_is_ahead_is_there(there: list[date], retention_days: int) -> None:
    changes = plan(there, TODAY, retention_days)
    assert all(TODAY - day > timedelta(retention_days) for day in changes.drop)
    assert retention_days > 0 or not changes.drop
    left = sorted({*there, *changes.make} - {*changes.drop})
    assert left[-1] >= TODAY + timedelta(DAYS_AHEAD)
    assert list(changes.make) == sorted(changes.make)
    assert all(day > max(there) for day in changes.make)  # `later` can be parted, days before it cannot
    assert plan(left, TODAY, retention_days) == Plan()


def test_names_sort_as_their_days_do() -> None:
    assert sorted(map(name, new(TODAY, 400))) == list(map(name, new(TODAY, 400)))
