from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.partitions import (
    DAYS_AHEAD,
    PartitionPlan,
    initial_days,
    partition_day,
    partition_list,
    partition_name,
    partition_plan,
)

TODAY = date(2026, 3, 1)
days = st.sets(st.integers(-400, 400), min_size=1).map(lambda found: [TODAY + timedelta(n) for n in found])


def test_a_partition_is_named_after_its_day_and_ends_with_it() -> None:
    assert partition_list([date(2023, 12, 31)]) == (
        "(PARTITION d20231231 VALUES LESS THAN ('2024-01-01'), PARTITION later VALUES LESS THAN (MAXVALUE))"
    )
    assert partition_day("d20231231") == date(2023, 12, 31)
    assert partition_day("later") is None
    assert partition_day("p0") is None


def test_each_day_one_partition_is_created_and_one_is_dropped() -> None:
    there = initial_days(TODAY, 30)
    assert partition_plan(there, TODAY, 30) == PartitionPlan()
    assert partition_plan(there, TODAY + timedelta(1), 30) == PartitionPlan(
        [TODAY + timedelta(DAYS_AHEAD + 1)], [TODAY - timedelta(30)]
    )


def test_without_a_retention_no_partition_is_dropped() -> None:
    assert partition_plan(initial_days(TODAY, 30), TODAY + timedelta(500), 0).drop == []


@given(there=days, retention_days=st.integers(0, 100))
def test_no_day_within_the_retention_is_dropped_and_days_ahead_exist(there: list[date], retention_days: int) -> None:
    changes = partition_plan(there, TODAY, retention_days)
    assert all(TODAY - day > timedelta(retention_days) for day in changes.drop)
    assert retention_days > 0 or not changes.drop
    left = sorted({*there, *changes.create} - {*changes.drop})
    assert left[-1] >= TODAY + timedelta(DAYS_AHEAD)
    assert list(changes.create) == sorted(changes.create)
    assert all(day > max(there) for day in changes.create)  # `later` can be parted, days before it cannot
    assert partition_plan(left, TODAY, retention_days) == PartitionPlan()


def test_partition_names_sort_like_their_days() -> None:
    assert sorted(map(partition_name, initial_days(TODAY, 400))) == list(map(partition_name, initial_days(TODAY, 400)))
