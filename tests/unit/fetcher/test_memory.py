"""Each system has a share of the memory for downloaded files."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from services.fetcher.parse_pool.memory import MemoryShares

WAIT_S = 30.0


def test_a_system_whose_files_fill_its_share_leaves_the_others_theirs() -> None:
    shares, entered, leave = MemoryShares(200, lambda: 2), Event(), Event()

    def wait_for_room() -> None:
        entered.set()
        with shares.take("4ga", 1):
            assert leave.is_set()

    with ThreadPoolExecutor(1) as threads:
        with shares.take("4ga", 100):
            waiting = threads.submit(wait_for_room)
            assert entered.wait(WAIT_S)
            with shares.take("5ga", 60), shares.take("5ga", 40):
                assert not waiting.done()
            leave.set()
        waiting.result(WAIT_S)


def test_a_share_grows_when_a_system_is_removed_and_a_file_that_is_larger_is_processed_alone() -> None:
    systems = 4
    shares = MemoryShares(400, lambda: systems)
    with shares.take("4ga", 1000):
        assert shares.budgets["4ga"].taken == 100
    systems = 1
    with shares.take("4ga", 1000):
        assert shares.budgets["4ga"].taken == 400
