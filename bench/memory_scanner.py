"""The scanner's part of bench.memory: its view of the ledger, in a new leader and in a standby that ran for years."""

from collections.abc import Iterator, Sequence
from itertools import chain
from time import time
from typing import cast

from bench.memory import LIFE, Case, Figures, Load, fed, statuses, tombstones
from services.scanner.ledger import LedgerFollower
from shared.configuration.kafka import Kafka
from shared.defects import DefectBudget
from shared.kafka.produce import Producer
from shared.kafka.record import Record

DAY_S = 86_400.0
CHUNK = 100_000


def follower() -> LedgerFollower:
    """Returns one that is fed by hand."""
    ledger = LedgerFollower(Kafka(bootstrap_servers="127.0.0.1:1"), cast("Producer", None), DefectBudget())
    ledger.reader.close()
    return ledger


def new_leader_after_left(load: Load) -> Figures:
    """A process that starts: past files lie on their elements for good, and compaction left one record of each."""
    past = statuses(range(load.past), "done", at_s=time() - 5 * DAY_S)
    return _fed(chain(past, _last_day(load)), load)


def new_leader_after_tombstones(load: Load) -> Figures:
    """A process that starts: past files were removed, and compaction left the tombstones of the last day."""
    removed = tombstones(range(load.past - min(load.day, load.past), load.past), time())
    return _fed(chain(removed, _last_day(load)), load)


def standby_with_tombstones(load: Load) -> Figures:
    """A process that has followed the ledger all the time: each past file came, was read and was removed later."""
    return _fed(chain(_past_and_gone(load), _last_day(load)), load)


def _past_and_gone(load: Load) -> Iterator[Record]:
    kept = 7 * load.day
    for first in range(0, load.past + kept, CHUNK):
        came = range(min(first, load.past), min(first + CHUNK, load.past))
        gone = range(max(first - kept, 0), max(first + CHUNK - kept, 0))
        yield from statuses(came, *LIFE, at_s=time() - 5 * DAY_S)
        yield from tombstones(range(gone.start, min(gone.stop, load.past)), time())


def _last_day(load: Load) -> Iterator[Record]:
    return statuses(range(load.past, load.past + load.day), *LIFE, at_s=time())


def _fed(records: Iterator[Record], load: Load) -> Figures:
    ledger = follower()

    def take(some: Sequence[Record]) -> None:
        ledger.contained(list({record.key: record for record in some}.values()))  # as `Consumer.poll_newest` does

    figures = fed(take, records, load.past + load.day)
    assert ledger.in_flight("4ga").waiting_for_fetchers == 0
    assert len(ledger.files) >= load.day
    return figures


CASES: dict[str, Case] = {
    "new leader, past files left": new_leader_after_left,
    "new leader, past files removed": new_leader_after_tombstones,
    "standby, past files removed": standby_with_tombstones,
}
