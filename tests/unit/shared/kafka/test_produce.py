"""The delivery reports of one unit of work: what follows them runs once, and failures are told apart."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from shared.errors import Unreachable
from shared.kafka.produce import Deliveries, ProducerFailed, TooLarge, announcement_of, command_of
from shared.messages import FileFound, Settle, partition_of, status_of


class Stored:
    """A record as the broker stored it."""

    def __init__(self, offset: int) -> None:
        self.at = offset

    def offset(self) -> int:
        return self.at


def expecting(records: int) -> tuple[Deliveries, list[tuple[int, int]]]:
    """Returns the deliveries of so many records, and what was found by what follows them."""
    deliveries, found = Deliveries(), list[tuple[int, int]]()
    for _ in range(records):
        deliveries.expect()
    return deliveries, found


def stored(offset: int) -> Any:
    return Stored(offset)


def test_what_follows_runs_once_after_the_last_report() -> None:
    deliveries, found = expecting(3)
    deliveries.report(None, stored(7))
    deliveries.then(lambda: found.append(deliveries.offsets()))
    deliveries.report(None, stored(5))
    assert found == []
    deliveries.report(None, stored(6))
    assert found == [(5, 7)]


def test_what_follows_runs_at_once_if_all_was_reported_before_or_nothing_was_sent() -> None:
    deliveries, found = expecting(1)
    deliveries.report(None, stored(7))
    deliveries.then(lambda: found.append(deliveries.offsets()))
    assert found == [(7, 7)]
    nothing, found = expecting(0)
    nothing.then(lambda: found.append(nothing.offsets()))
    assert found == [(-1, -1)]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KafkaError(KafkaError._MSG_TIMED_OUT), Unreachable),
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), TooLarge),
        (KafkaError(KafkaError._FATAL), ProducerFailed),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "lost", fatal=True), ProducerFailed),
    ],
)
def test_one_failure_fails_all_and_says_whether_it_helps_to_send_again(
    error: KafkaError, raised: type[Exception]
) -> None:
    deliveries, _ = expecting(2)
    deliveries.report(error, None)
    deliveries.report(None, stored(7))
    with pytest.raises(raised, match="Kafka did not take a record"):
        deliveries.offsets()
    with pytest.raises(raised):
        deliveries.wait()


@pytest.mark.parametrize("announced_in", [-1, 0, 7])
def test_the_command_to_move_a_file_goes_to_the_partition_number_of_its_announcement(announced_in: int) -> None:
    file = FileFound(
        file_id="0" * 16, system="4ga", endpoint="oss", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
        announced_in=announced_in,
    )  # fmt: skip
    command = command_of(Settle(file_id=file.file_id, to="done", status=status_of(file, "parsed", 1.5)))
    announced = announcement_of(file)
    assert (announced.topic, command.topic) == ("pm.files.found", "pm.files.settle")
    assert announced.partition == command.partition == (partition_of("e1") if announced_in < 0 else announced_in)
