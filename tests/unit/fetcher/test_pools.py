from threading import Barrier, Event

from services.fetcher.intake.pools import Pools

WAIT_S = 10.0


def test_a_pool_is_resized_while_it_works_and_finishes_its_work() -> None:
    sizes = {"4ga": 1}
    pools, leave, ended = Pools(lambda: sizes), Event(), Event()

    def busy() -> None:
        leave.wait(WAIT_S)
        ended.set()

    pools.submit("4ga", busy)
    sizes["4ga"] = 3
    together = Barrier(4)

    def meet() -> None:
        together.wait(WAIT_S)

    for _ in range(3):
        pools.submit("4ga", meet)
    together.wait(WAIT_S)  # three at once, beside the one that is busy still
    assert pools.threads("4ga") == 3
    leave.set()
    assert ended.wait(WAIT_S)
    pools.close()


def test_work_of_a_system_that_was_removed_is_still_done() -> None:
    pools, done = Pools(dict), Event()
    pools.submit("gone", done.set)
    assert done.wait(WAIT_S)
    pools.close()
