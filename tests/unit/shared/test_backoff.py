from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import backoff_s

FAILURES = st.integers() | st.integers(0, 70) | st.sampled_from([1023, 1024, 1025, 10**6, 10**400])
SECONDS = st.floats(0.001, 1e6)


@given(failures=FAILURES, first_s=SECONDS, longest_s=SECONDS, jitter=st.none() | st.floats(0, 1))
def test_no_number_of_failures_overflows_or_waits_longer_than_the_longest(
    failures: int, first_s: float, longest_s: float, jitter: float | None
) -> None:
    whole_s = min(first_s, longest_s)
    assert whole_s / 2 <= backoff_s(failures, first_s, longest_s, jitter) <= longest_s


@given(failures=FAILURES, jitter=st.floats(0, 1))
def test_another_failure_never_shortens_the_wait(failures: int, jitter: float) -> None:
    assert backoff_s(failures, 0.5, 300.0, jitter) <= backoff_s(failures + 1, 0.5, 300.0, jitter)


def test_a_wait_doubles_from_the_first_to_the_longest() -> None:
    assert [backoff_s(n, 1.0, 10.0, jitter=1.0) for n in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_clients_that_fail_together_come_back_apart() -> None:
    assert len({backoff_s(3, 1.0, 60.0) for _ in range(20)}) > 1
