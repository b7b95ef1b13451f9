"""Unplanned errors: tried once more, then set aside, within a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, TooManyDefects
from shared.errors import Hopeless, MustExit, Unreachable


@dataclass
class Sink:
    """Stores numbers; fails as it is told."""

    fails: Callable[[Sequence[int], int], Exception | None]
    """Records and the number of the call -> what to raise."""
    stored: list[int] = field(default_factory=list)
    aside: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    calls: int = 0
    renewed: int = 0

    def handle(self, records: Sequence[int]) -> None:
        self.calls += 1
        if error := self.fails(records, self.calls):
            raise error
        self.stored += records

    def set_aside(self, record: int, defect: Defect) -> None:
        self.aside.append(record)
        self.reasons.append(defect.reason)

    def renew(self) -> None:
        self.renewed += 1

    def contained(self, budget: DefectBudget, **more: Any) -> Contained[int]:
        return Contained(self.handle, self.renew, self.set_aside, budget, str, **more)


def test_a_failure_that_passes_sets_nothing_aside() -> None:
    sink = Sink(lambda _, call: KeyError("cache") if call == 1 else None)
    sink.contained(DefectBudget())([1, 2, 3])
    assert (sink.stored, sink.aside, sink.renewed) == ([1, 2, 3], [], 1)


@given(st.lists(st.integers(), unique=True, max_size=20), st.sets(st.integers(), max_size=5))
def test_records_on_which_the_code_fails_stop_no_other(records: list[int], poison: set[int]) -> None:
    sink = Sink(lambda some, _: ZeroDivisionError("poison") if poison & set(some) else None)
    sink.contained(DefectBudget(most=100))(records)
    assert sink.stored == [record for record in records if record not in poison]
    assert sink.aside == [record for record in records if record in poison]
    assert set(sink.reasons) <= {"defect: ZeroDivisionError: poison"}


def test_a_handler_that_always_fails_ends_the_service_and_sets_no_more_aside_than_the_budget() -> None:
    sink = Sink(lambda *_: ValueError("broken"))
    contained = sink.contained(DefectBudget(most=3))
    with pytest.raises(TooManyDefects, match="more than 3 defects within 600 s, the last: defect: ValueError: broken"):
        contained(range(10))
    assert (sink.stored, sink.aside) == ([], [0, 1, 2])


def test_a_budget_recovers_with_time() -> None:
    now_s = 0.0
    budget = DefectBudget(most=1, within_s=10, clock_s=lambda: now_s)
    budget.spend(Defect(ValueError()))
    with pytest.raises(TooManyDefects):
        budget.spend(Defect(ValueError()))
    now_s = 10.0
    budget.spend(Defect(ValueError()))


def test_planned_errors_are_the_callers_business() -> None:
    sink = Sink(lambda *_: Unreachable("away"))
    with pytest.raises(Unreachable):
        sink.contained(DefectBudget(most=0))([1])
    assert (sink.calls, sink.aside) == (1, [])


def test_a_defect_keeps_its_traceback() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as raised:
        fail()
    assert "in fail" in Defect(raised.value).traceback


def test_a_record_that_was_set_aside_before_is_passed_over_without_cost() -> None:
    sink = Sink(lambda some, _: KeyError("x") if some[0] < 5 else None)
    sink.contained(DefectBudget(most=0), is_known=lambda record: record < 5)(range(10))
    assert (sink.stored, sink.aside) == ([5, 6, 7, 8, 9], [])


def test_what_no_record_causes_is_never_contained() -> None:
    for error in (Unreachable("away"), MustExit("fenced")):
        sink = Sink(lambda *_, error=error: error)
        with pytest.raises(type(error)):
            sink.contained(DefectBudget(), planned=NO_RECORDS_FAULT)([1, 2])
        assert (sink.calls, sink.aside) == (1, [])
    sink = Sink(lambda *_: Hopeless("refused where nobody expects it"))
    sink.contained(DefectBudget(), planned=NO_RECORDS_FAULT)([1])
    assert sink.aside == [1]
