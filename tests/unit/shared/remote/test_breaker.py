from hypothesis import given
from hypothesis import strategies as st

from shared.remote.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, TOLERATED, Breaker


def broken(times: int = TOLERATED) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker.failed(now_s=0.0, jitter=1.0)
    return breaker


def test_a_few_failures_are_tolerated() -> None:
    assert broken(TOLERATED - 1).may_try(0.0)


def test_after_too_many_the_host_is_left_alone_then_asked_once() -> None:
    breaker = broken()
    assert not breaker.may_try(FIRST_PAUSE_S - 0.1)
    assert breaker.may_try(FIRST_PAUSE_S)
    assert not breaker.may_try(FIRST_PAUSE_S)  # the probe is under way
    breaker.succeeded()
    assert breaker.may_try(FIRST_PAUSE_S)
    assert breaker.may_try(FIRST_PAUSE_S)


def test_a_failed_probe_doubles_the_pause() -> None:
    breaker = broken()
    assert breaker.may_try(FIRST_PAUSE_S)
    breaker.failed(FIRST_PAUSE_S, jitter=1.0)
    assert not breaker.may_try(FIRST_PAUSE_S + 2 * FIRST_PAUSE_S - 0.1)
    assert breaker.may_try(FIRST_PAUSE_S + 2 * FIRST_PAUSE_S)


@given(failures=st.integers(1, 60), jitter=st.floats(0, 1))
def test_no_pause_is_longer_than_the_longest(failures: int, jitter: float) -> None:
    breaker = broken(failures)
    breaker.failed(100.0, jitter)
    assert 100.0 + FIRST_PAUSE_S / 2 <= breaker.open_until_s <= 100.0 + LONGEST_PAUSE_S


def test_its_state_is_told_in_an_operators_words() -> None:
    assert Breaker().state(0.0) == "closed"
    assert broken().state(0.0) == "open"
    assert broken().state(FIRST_PAUSE_S) == "half-open"
