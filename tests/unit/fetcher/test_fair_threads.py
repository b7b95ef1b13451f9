"""The threads that have files parsed serve the systems in turn."""

from threading import Event

import pytest

from services.fetcher.parse_pool.fair_threads import FairThreads

WAIT_S = 30.0


def test_a_system_with_few_files_gets_its_turn_though_another_has_100_000_waiting() -> None:
    """Every second piece of work of the thread is the small system's, until that has nothing left."""
    threads, begin, order = FairThreads(1), Event(), list[str]()
    threads.submit("first", lambda: (begin.wait(WAIT_S), None)[1])
    for _ in range(100_000):
        threads.submit("4ga", lambda: order.append("4ga"))
    last = [threads.submit("5ga", lambda: order.append("5ga")) for _ in range(100)]
    begin.set()
    for future in last:
        future.result(WAIT_S)
    ended_at = [at for at, system in enumerate(order) if system == "5ga"]
    assert ended_at == list(range(1, 200, 2))
    threads.close()
    assert len(order) == 100_100


def test_work_that_waits_for_other_work_is_not_in_its_way() -> None:
    threads, other = FairThreads(2), Event()
    slow = threads.submit("4ga", lambda: (other.wait(WAIT_S), None)[1])
    threads.submit("4ga", other.set).result(WAIT_S)
    slow.result(WAIT_S)
    threads.close()


def test_an_error_is_raised_where_the_result_is_asked_for_and_the_thread_goes_on() -> None:
    def fail() -> None:
        raise KeyError("poison")

    threads, done = FairThreads(1), Event()
    failed = threads.submit("4ga", fail)
    threads.submit("4ga", done.set).result(WAIT_S)
    with pytest.raises(KeyError, match="poison"):
        failed.result(WAIT_S)
    assert done.is_set()
    threads.close()
