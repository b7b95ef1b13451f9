"""Recovery times are counted from the end of a fault, by files that were written after it."""

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.nemesis import CarriedOut, OwnExit
from tests.chaos.plan import Fault
from tests.chaos.report import page, recovery_times, report_of
from tests.chaos.verdict import Finished


def over(kind: str, ended_s: float, problem: str = "") -> CarriedOut:
    return CarriedOut(Fault(1, 0.0, kind, "kafka", 1.0, ("kafka",)), ended_s - 1.0, ended_s, problem)


def test_a_fault_has_recovered_when_a_file_is_finished_that_was_written_after_its_end() -> None:
    finished = [(90.0, 101.0), (100.0, 130.0), (110.0, 120.0)]
    found = recovery_times([over("kill", 100.0), over("cut", 105.0), over("cut", 111.0)], finished)
    assert (found["kill"].many, found["kill"].max_s) == (1, 20.0)
    assert (found["cut"].many, found["cut"].max_s) == (1, 15.0)  # no file was written after the last one
    assert found["all"].many == 2


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100))), st.integers(0, 100))
def test_the_recovery_time_is_that_of_the_earliest_such_file(files: list[tuple[int, int]], ended_s: int) -> None:
    finished = [(float(written_s), float(written_s + took_s)) for written_s, took_s in files]
    later = [done_s for written_s, done_s in finished if written_s >= ended_s]
    found = recovery_times([over("kill", float(ended_s))], finished)
    assert found["all"].max_s == min(later) - ended_s if later else found == {}


def test_a_report_is_wrong_if_a_value_a_file_or_the_end_of_a_fault_is() -> None:
    assert report_of(1, 10.0, [over("kill", 1.0)], [], Finished()).is_right
    assert not report_of(1, 10.0, [over("kill", 1.0, "did not end")], [], Finished()).is_right
    assert not report_of(1, 10.0, [over("kill", 1.0)], [], Finished(problems=["stuck"])).is_right


def test_the_page_shows_faults_exits_and_problems() -> None:
    exits = [OwnExit("fetcher-1", "no broker"), OwnExit("fetcher-2", "no broker")]
    text = page(report_of(1, 10.0, [over("kill", 1.0)], exits, Finished(problems=["stuck: a.xml"])))
    assert "1 faults" in text
    assert "WRONG" in text
    assert "2  fetcher: no broker" in text
    assert "stuck: a.xml" in text
