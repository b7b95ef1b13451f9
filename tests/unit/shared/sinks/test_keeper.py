"""The keeper of one of pmflow's own tables, with its topic in memory."""

from collections.abc import Sequence
from threading import Event

from shared.health import Heartbeat
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.record import TopicPartition
from shared.messages import FileStatus
from shared.sinks.files import KEPT_STATUSES
from shared.sinks.keeper import TableKeeper
from tests.fakes.topics import SentRecords, Topics


class Table:
    """A table in memory."""

    def __init__(self) -> None:
        self.kept: list[FileStatus] = []

    def keep(self, items: Sequence[FileStatus], /) -> None:
        self.kept += items

    def renew(self) -> None:
        raise AssertionError("no defect")


def test_the_tombstone_of_a_removed_file_costs_neither_its_row_nor_a_dead_letter_and_is_passed() -> None:
    status = FileStatus(
        file_id="1" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/a", size=1, mtime_s=1, stage="found",
        at_s=1.0, epoch=1,
    )  # fmt: skip
    topics, table, producer, stop = Topics(), Table(), SentRecords(), Event()
    topics.put(KEPT_STATUSES.name, 0, [status.encode(), None, b"junk", None, status.encode()])
    end = {TopicPartition(KEPT_STATUSES.name, 0): 5}

    def look() -> None:
        if topics.committed_offsets == end:
            stop.set()

    topics.on_poll = look
    letters = DeadLetters(producer)  # type: ignore[arg-type]
    TableKeeper(KEPT_STATUSES, topics, letters, table, Heartbeat("")).run(stop)  # type: ignore[arg-type]
    assert topics.committed_offsets == end
    assert table.kept == [status, status]
    assert producer.origins_set_aside() == [f"{KEPT_STATUSES.name}/0/2"]
