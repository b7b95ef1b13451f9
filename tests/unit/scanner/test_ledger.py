"""The ledger in a scanner: what takes room in flight, and the epochs of earlier leaders."""

from dataclasses import replace
from typing import cast

import pytest

from services.scanner.file_producer import InFlightAllowance
from services.scanner.ledger import LedgerFollower
from shared.defects import DefectBudget
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.messages import FileStatus, SinkPosition
from shared.settings import System

PARSED = FileStatus(
    file_id="f" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
    stage="parsed", at_s=0.0, topic="pm.counters.4ga", partition=5, last_offset=9, values=7,
)  # fmt: skip


def position(sink: str, next_offset: int) -> SinkPosition:
    return SinkPosition(sink=sink, topic="pm.counters.4ga", partition=5, next_offset=next_offset)


@pytest.fixture
def ledger() -> LedgerFollower:
    return LedgerFollower("127.0.0.1:1", cast("Producer", None), DefectBudget())  # reads nothing


def taken(ledger: LedgerFollower, *records: FileStatus | SinkPosition) -> LedgerFollower:
    ledger._take([Record("t", 0, n, b"k", record.encode(), 0.0) for n, record in enumerate(records)])
    return ledger


def test_a_parsed_file_takes_room_until_every_required_sink_has_stored_it(ledger: LedgerFollower) -> None:
    taken(ledger, PARSED, position("mysql", 9))
    assert ledger.in_flight("4ga", ["mysql"]).waiting_for_sinks == 1
    taken(ledger, position("mysql", 10))
    assert ledger.in_flight("4ga", ["mysql"]).waiting_for_sinks == 0
    assert ledger.in_flight("4ga", ["mysql", "clickhouse"]).waiting_for_sinks == 1
    assert ledger.in_flight("4ga").waiting_for_sinks == 0
    taken(ledger, replace(PARSED, last_offset=20))
    assert ledger.in_flight("4ga", ["mysql"]).by_endpoint == {"e1": 1}


def test_files_that_are_stored_but_not_moved_leave_all_room_to_others(ledger: LedgerFollower) -> None:
    files = [replace(PARSED, file_id=f"{n:016x}", endpoint=f"ro-{n % 50}") for n in range(5000)]
    taken(ledger, *files, position("mysql", 10))
    in_flight = ledger.in_flight("4ga", ["mysql"])
    assert InFlightAllowance.remaining(System(name="4ga"), in_flight.by_endpoint, {"ok": "h"}).total == 5000


def test_a_file_that_was_refused_to_be_moved_takes_no_room_whatever_the_positions(ledger: LedgerFollower) -> None:
    taken(ledger, PARSED, replace(PARSED, moves_refused=1, not_moved="read-only"))
    assert ledger.in_flight("4ga", ["mysql"]).waiting_for_sinks == 0
    taken(ledger, replace(PARSED, stage="found"))
    assert ledger.in_flight("4ga", ["mysql"]).waiting_for_fetchers == 1


def test_the_highest_epoch_is_known_for_each_system(ledger: LedgerFollower) -> None:
    taken(ledger, replace(PARSED, epoch=9), replace(PARSED, epoch=4), replace(PARSED, system="5ga", epoch=70))
    assert [ledger.highest_epoch(system) for system in ("4ga", "5ga", "6ga")] == [9, 70, 0]
