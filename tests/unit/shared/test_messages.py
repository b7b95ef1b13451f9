import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import (
    PARTITIONS,
    BadMessage,
    CounterBatch,
    FileFound,
    FileStatus,
    Settle,
    SinkPosition,
    decode_status,
    file_identity,
    partition_of,
    path_bytes,
    path_text,
    version_of,
)

FOUND = FileFound(file_id="0" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3)
TEXT = st.text()
NUMBER = st.integers(-(2**63), 2**63 - 1)


@given(path=st.binary())
def test_any_path_survives_a_message(path: bytes) -> None:
    assert path_bytes(path_text(path)) == path
    assert path_text(path).isascii()


@given(element=TEXT)
def test_all_of_an_element_goes_to_one_partition(element: str) -> None:
    assert 0 <= partition_of(element) < PARTITIONS
    assert partition_of(element) == partition_of(element)


@given(element=TEXT, size=NUMBER, epoch=NUMBER)
def test_a_message_comes_back_as_it_went(element: str, size: int, epoch: int) -> None:
    message = FileFound(
        file_id="0" * 16, system="4ga", endpoint="e1", element=element, path="/pm/A", size=size, mtime_s=2, epoch=epoch
    )
    assert FileFound.decode(message.encode()) == message


def test_a_field_of_a_newer_writer_is_passed_over() -> None:
    raw = orjson.dumps({**orjson.loads(FOUND.encode()), "colour": "blue"})
    assert FileFound.decode(raw) == FOUND


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind":"file-found"}',
        FOUND.encode().replace(b'"size":1', b'"size":"1"'),
        SinkPosition(sink="mysql", topic="t", partition=0, next_offset=1).encode(),
    ],
)
def test_what_is_no_such_message_is_refused_with_its_bytes(raw: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        FileFound.decode(raw)
    assert refused.value.raw == raw


def test_the_ledger_carries_statuses_and_positions() -> None:
    position = SinkPosition(sink="mysql", topic="t", partition=0, next_offset=1)
    status = FileStatus(
        file_id="0" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3,
        stage="found", at_s=1.5,
    )  # fmt: skip
    assert decode_status(position.encode()) == position
    assert decode_status(status.encode()) == status


def test_a_command_carries_the_status_it_answers() -> None:
    command = Settle(file_id="0" * 16, to="done", status={"a": 1})
    assert Settle.decode(command.encode()) == command


def test_the_same_name_with_other_content_is_another_file() -> None:
    one = file_identity("4ga", "e1", "/pm/A", 10, 100)
    assert one == file_identity("4ga", "e1", "/pm/A", 10, 100)
    assert len({one, file_identity("4ga", "e1", "/pm/A", 11, 100), file_identity("4ga", "e1", "/pm/A", 10, 101)}) == 3


@given(older=st.integers(0, 2**40), younger_by=st.integers(1, 1000), a=st.binary(), b=st.binary())
def test_the_newer_file_has_the_higher_version(older: int, younger_by: int, a: bytes, b: bytes) -> None:
    first = file_identity("4ga", "e1", path_text(a), 1, older)
    second = file_identity("4ga", "e1", path_text(b), 1, older + younger_by)
    assert version_of(first, older) < version_of(second, older + younger_by) < 2**63


BATCH = CounterBatch(
    system="4ga", file_id="0" * 16, element="e1", group="g", job="", gp_s=900, end_s=900, end_offset_min=0, ver=1,
    counters=["a", "b"], rows=[["o", 0, 1, None]], types={"a": "integer"}, units={"a": "bytes"},
)  # fmt: skip


def test_a_batch_brings_the_types_and_units_of_its_counters() -> None:
    assert CounterBatch.decode(BATCH.encode()) == BATCH


def test_a_batch_of_an_older_writer_has_no_types_and_units() -> None:
    known = orjson.loads(BATCH.encode())
    del known["types"], known["units"]
    older = CounterBatch.decode(orjson.dumps(known))
    assert (older.types, older.units, older.rows) == ({}, {}, BATCH.rows)


@pytest.mark.parametrize("name", ["types", "units"])
def test_types_and_units_that_are_no_mapping_are_refused(name: str) -> None:
    with pytest.raises(BadMessage, match=name):
        CounterBatch.decode(orjson.dumps(orjson.loads(BATCH.encode()) | {name: ["integer"]}))
