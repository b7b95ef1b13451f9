"""Messages of the client library become our own records, or our own errors."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from shared.kafka.consume import records_of
from shared.kafka.record import KafkaFailure, Record, TopicPartition


def delivered(**changes: Any) -> Message:
    made: dict[str, Any] = {
        "topic": "t",
        "partition": 3,
        "offset": 7,
        "key": b"k",
        "value": b"v",
        "timestamp": (1, 1_500),
    }
    return Message(**(made | changes))


def read(messages: list[Message | None]) -> list[Record]:
    return records_of(messages, lambda error, message: f"{message.topic()}: {error.str()}")


def test_a_record_holds_all_that_was_delivered() -> None:
    headers = [("reason", b"too long"), ("origin", b"t/3/1"), ("empty", None), ("binary", b"\xff")]
    (record,) = read([delivered(headers=headers)])
    assert record == Record(
        "t", 3, 7, b"k", b"v", 1.5, {"reason": "too long", "origin": "t/3/1", "binary": "\N{REPLACEMENT CHARACTER}"}
    )
    assert record.topic_partition == TopicPartition("t", 3)
    assert record.origin == "t/3/7"


def test_a_tombstone_has_no_value_and_an_empty_value_is_none() -> None:
    tombstone, empty = read([delivered(value=None), delivered(value=b"", key=None)])
    assert (tombstone.value, empty.value) == (None, b"")
    assert (tombstone.key_text, empty.key_text) == ("k", "")
    assert not empty.headers


def test_errors_that_the_client_recovers_from_are_no_records(caplog: pytest.LogCaptureFixture) -> None:
    lost = delivered(error=KafkaError(KafkaError._TRANSPORT, "broker is down"))
    assert [record.offset for record in read([lost, None, delivered(offset=8)])] == [8]
    assert [vars(line)["reason"] for line in caplog.records] == ["broker is down"]


@pytest.mark.parametrize(
    "error",
    [KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no topic"), KafkaError(KafkaError._FATAL, "fenced", fatal=True)],
)
def test_an_error_that_does_not_pass_is_raised_as_our_own(error: KafkaError) -> None:
    with pytest.raises(KafkaFailure, match=error.str()):
        read([delivered(), delivered(error=error)])
