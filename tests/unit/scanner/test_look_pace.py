from hypothesis import given
from hypothesis import strategies as st

from services.scanner.look_pace import FEWEST, WINDOW_S, LookPace


def after(windows: int, share: float, most: int = 192, pace: LookPace | None = None) -> LookPace:
    """Returns a pace after windows in which the process used a share of its core, with all places taken."""
    pace = pace or LookPace(most, 0.0, 0.0)
    for _ in range(windows):
        pace.places_now(pace.began_s + WINDOW_S, pace.cpu_s + share * WINDOW_S, pace.places)
    return pace


def test_elements_that_answer_slowly_are_soon_looked_at_in_all_places() -> None:
    assert after(0, 0.1).places == FEWEST
    assert after(7, 0.1).places == 192


def test_elements_that_answer_at_once_are_looked_at_in_few_places() -> None:
    assert after(20, 0.95).places == FEWEST
    assert after(12, 0.95, pace=after(7, 0.1)).places == FEWEST


def test_free_places_are_no_reason_for_more() -> None:
    pace = LookPace(192, 0.0, 0.0)
    for window in range(1, 10):
        assert pace.places_now(window * WINDOW_S, 0.0, in_work=3) == FEWEST


def test_within_a_window_nothing_changes() -> None:
    pace = LookPace(192, 0.0, 0.0)
    assert {pace.places_now(WINDOW_S * n / 11, 0.0, FEWEST) for n in range(11)} == {FEWEST}


@given(most=st.integers(1, 300), steps=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 300))))
def test_there_are_never_more_places_than_the_setting_allows_and_always_one(
    most: int, steps: list[tuple[float, float, int]]
) -> None:
    pace, now_s, cpu_s = LookPace(most, 0.0, 0.0), 0.0, 0.0
    for passed_s, used_s, in_work in steps:
        now_s, cpu_s = now_s + passed_s, cpu_s + used_s
        assert 1 <= pace.places_now(now_s, cpu_s, in_work) <= most
