"""A system with a backlog of 100,000 files leaves the others their pace, counted in steps of equal work."""

from collections import Counter
from collections.abc import Callable
from threading import Condition, Event

from services.fetcher.intake.topic_intake import Job
from shared.kafka.record import Record
from tests.unit.fetcher.test_dispatch import WAIT_S, Topic, Work, record, running

THREADS = 2
"""Threads of each system, see `running`."""


class Steps(Work):
    """Work that proceeds in steps: each thread does one file per step, which ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = Condition()
        self.under_way: list[tuple[str, Event]] = []
        self.is_over = False

    def job(self, one: Record, done: Callable[[], None]) -> Job:
        pool = (one.value or b"").decode()

        def work() -> None:
            ends = Event()
            with self.changed:
                if not self.is_over:
                    self.under_way.append((pool, ends))
                    self.changed.notify_all()
                else:
                    ends.set()
            ends.wait(WAIT_S)
            done()

        return Job(pool, work)

    def step(self, expected: Counter[str]) -> None:
        """Ends the step as soon as so many files of each system are under way."""
        with self.changed:
            assert self.changed.wait_for(lambda: Counter(pool for pool, _ in self.under_way) >= expected, WAIT_S)
            ended, self.under_way = self.under_way, []
        for _, ends in ended:
            ends.set()

    def end(self) -> None:
        with self.changed:
            self.is_over = True
            for _, ends in self.under_way:
                ends.set()


def steps_of(files: int, backlog: int) -> int:
    """Returns the number of steps in which the system 5ga does its files, behind so many announcements of 4ga."""
    flood = [record(offset, "4ga") for offset in range(backlog)]
    topic, work = Topic([*flood, *(record(backlog + n, "5ga") for n in range(files))]), Steps()
    steps, left = 0, files
    with running(topic, work):
        assert topic.all_read.wait(WAIT_S)
        while left > 0:
            expected = Counter({"4ga": THREADS if backlog else 0, "5ga": min(THREADS, left)})
            work.step(+expected)
            steps, left = steps + 1, left - expected["5ga"]
        work.end()
    return steps


def test_a_backlog_of_100_000_files_leaves_another_system_its_pace() -> None:
    """Each step gets two files of the backlog done, and as many of the other system as it would do alone."""
    alone = steps_of(files=200, backlog=0)
    assert alone == 100
    assert alone >= 0.8 * steps_of(files=200, backlog=100_000)
