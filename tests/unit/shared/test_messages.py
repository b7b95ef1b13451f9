from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cycle_figures import CycleFigures, readable
from shared.ledger import decode_status
from shared.messages import (
    PARTITIONS,
    BadMessage,
    CounterBatch,
    FileFound,
    FileStatus,
    Message,
    SetAside,
    Settle,
    SinkPosition,
    file_identity,
    partition_of,
    path_bytes,
    path_text,
    status_of,
)
from shared.versions import version_of

FOUND = FileFound(file_id="0" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3)
STATUS = FileStatus(**asdict(FOUND), stage="found", at_s=1.5)
TEXT = st.text()
COUNT = st.integers(0, 2**63 - 1)


@given(path=st.binary())
def test_any_path_survives_a_message(path: bytes) -> None:
    assert path_bytes(path_text(path)) == path
    assert path_text(path).isascii()


@given(element=TEXT)
def test_all_of_an_element_goes_to_one_partition(element: str) -> None:
    assert 0 <= partition_of(element) < PARTITIONS
    assert partition_of(element) == partition_of(element)


@given(element=TEXT, partition=st.integers(0, PARTITIONS - 1))
def test_the_status_of_a_file_and_the_command_to_move_it_know_where_it_was_announced(
    element: str, partition: int
) -> None:
    found = replace(FOUND, element=element, announced_in=partition)
    status = status_of(FileFound.decode(found.encode()), "parsed", 1.5)
    command = Settle.decode(Settle(file_id=found.file_id, to="done", status=status).encode())
    assert found.fetcher_partition == status.fetcher_partition == command.status.fetcher_partition == partition


def test_a_file_that_an_earlier_version_announced_is_moved_by_the_fetcher_of_its_element() -> None:
    fields = orjson.loads(FOUND.encode())
    del fields["announced_in"]
    assert FileFound.decode(orjson.dumps(fields)).fetcher_partition == partition_of(FOUND.element)


@pytest.mark.parametrize("partition", [-2, PARTITIONS])
def test_a_partition_that_no_topic_has_is_refused(partition: int) -> None:
    with pytest.raises(BadMessage, match="announced_in"):
        FileFound.decode(orjson.dumps({**orjson.loads(FOUND.encode()), "announced_in": partition}))


@given(element=TEXT, size=COUNT, epoch=COUNT)
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
        b"[" * 100_000,
        b'{"kind":%s%s}' % (b"[" * 1000, b"]" * 1000),
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
    assert decode_status(position.encode()) == position
    assert decode_status(STATUS.encode()) == STATUS


def test_a_command_carries_the_status_it_answers() -> None:
    command = Settle(file_id="0" * 16, to="done", status=STATUS)
    assert Settle.decode(command.encode()) == command
    assert orjson.loads(command.encode())["status"] == asdict(STATUS)  # plain fields, as older fetchers read them


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


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"size": 2**63}, "Expected `int` <= 9223372036854775807 - at `$.size`"),
        ({"size": "1"}, "Expected `int`, got `str` - at `$.size`"),
        ({"size": True}, "Expected `int`, got `bool` - at `$.size`"),
        ({"mtime_s": 2**43}, "Expected `int` <= 253402214400 - at `$.mtime_s`"),
        ({"path": "x" * 16_385}, "Expected `str` of length <= 16384 - at `$.path`"),
        ({"end_s": 10**18}, "Expected `int` <= 253402214400 - at `$.end_s`"),
        ({"epoch": -1}, "Expected `int` >= 0 - at `$.epoch`"),
        ({"file_id": "0123456789ABCDEF"}, "Expected `str` matching regex '^[0-9a-f]{16}$' - at `$.file_id`"),
        ({"system": None}, "Expected `str`, got `null` - at `$.system`"),
        ({"stage": "eaten"}, "Invalid enum value 'eaten' - at `$.stage`"),
        ({"at_s": 1e300}, "Expected `float` <= 253402214400.0 - at `$.at_s`"),
        ({"partition": -2}, "Expected `int` >= -1 - at `$.partition`"),
        ({"kind": "settle"}, "not a file-status, but 'settle'"),
        ({"kind": []}, "not a file-status"),
        ({"kind": {"a": []}}, "not a file-status"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_expected_and_found(changed: dict[str, Any], says: str) -> None:
    raw = orjson.dumps(orjson.loads(STATUS.encode()) | changed)
    for decode in (FileStatus.decode, decode_status):
        with pytest.raises(BadMessage) as refused:
            decode(raw)
        assert says in str(refused.value)
        assert refused.value.raw == raw


def test_the_status_in_a_command_is_checked_too() -> None:
    raw = Settle(file_id="0" * 16, to="done", status=STATUS).encode().replace(b'"size":1', b'"size":-1')
    with pytest.raises(BadMessage, match=r"Expected `int` >= 0 - at `\$\.status\.size`"):
        Settle.decode(raw)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"counters": ["a", 1]}, "Expected `str`, got `int` - at `$.counters[1]`"),
        ({"counters": ["a", "a"]}, "counter 'a' appears twice - at `$.counters`"),
        ({"rows": {}}, "Expected `array`, got `object` - at `$.rows`"),
        ({"rows": [["o", 0, 1, None], "oops"]}, "cells - at `$.rows[1]`"),
        ({"rows": [["o", 0, 1]]}, "Expected `[object, 0|1, value, ...]` of 4 cells - at `$.rows[0]`"),
        ({"rows": [["o", 0, 1, 2, 3]]}, "cells - at `$.rows[0]`"),
        ({"rows": [[]]}, "cells - at `$.rows[0]`"),
        ({"rows": [[7, 0, 1, 2]]}, "cells - at `$.rows[0]`"),
        ({"rows": [["o", 2, 1, 2]]}, "cells - at `$.rows[0]`"),
        ({"rows": [["o", -1, 1, 2]]}, "cells - at `$.rows[0]`"),
        ({"rows": [["o", True, 1, 2]]}, "cells - at `$.rows[0]`"),
        ({"rows": [["o", 1.0, 1, 2]]}, "cells - at `$.rows[0]`"),
        ({"rows": [["o", [0], 1, 2]]}, "cells - at `$.rows[0]`"),
        ({"rows": [["o", 0, 1, 2], ["o", 0, 1, {"a": 1}]]}, "null or an array of these - at `$.rows[1][3]`"),
        ({"rows": [["o", 0, [[1]], 2]]}, "null or an array of these - at `$.rows[0][2]`"),
        ({"rows": [["o", 0, [True], 2]]}, "null or an array of these - at `$.rows[0][2]`"),
        ({"rows": [["o", 0, 1, False]]}, "null or an array of these - at `$.rows[0][3]`"),
        ({"rows": [["o", 0, [1, "a", None, 1.5], "{[true"]], "types": {}, "units": [{}]}, "`$.units`"),
        ({"types": {"a": 1}}, "Expected `str`, got `int` - at `$.types[...]`"),
    ],
)
def test_the_shape_of_a_batch_is_checked(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BadMessage) as refused:
        CounterBatch.decode(orjson.dumps(orjson.loads(BATCH.encode()) | changed))
    assert says in str(refused.value)


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 300])
@pytest.mark.parametrize("cell", ["%s", "[1,%s]"])
def test_an_integer_that_the_parser_would_round_is_refused(number: str, cell: str) -> None:
    raw = BATCH.encode().replace(b"null", (cell % number).encode())
    with pytest.raises(BadMessage, match=f"64 bits or of double precision, got {number[:40]}"):
        CounterBatch.decode(raw)


@pytest.mark.parametrize(
    "number", ["18446744073709551615", "-9223372036854775808", "1e30", "1.5e308", '"9,99999999999999999999,9"']
)
def test_numbers_of_64_bits_doubles_and_texts_of_digits_pass(number: str) -> None:
    (row,) = CounterBatch.decode(BATCH.encode().replace(b"null", number.encode())).rows
    assert row[3] == orjson.loads(number)


FIGURES = CycleFigures(
    system="4ga", end_s=900, told_s=1.0, expected=2, missing=["e2"], elements=1, found=1, late=0, fetched=1, parsed=1,
    stored={"mysql": 1}, done=1, error=0, lost=0, postponed=0, quarantined=0, bytes=1, batches=1, rows=1, suspect=0,
    values=2, values_stored={"mysql": 2}, values_set_aside={}, values_quarantined=0, values_dropped=0, retries=0,
    latency_s={"parsed": [1.0, 2.0, 3.0], "stored": []}, took_s=2.5,
)  # fmt: skip
MESSAGES: list[Message] = [
    FOUND,
    STATUS,
    SinkPosition(sink="mysql", topic="t", partition=0, next_offset=1),
    SetAside(
        sink="mysql", topic="t", partition=0, offset=1, file_id="0" * 16, element="e1", values=1, reason="", at_s=1.0,
        content="f" * 16,
    ),
    Settle(file_id="0" * 16, to="done", status=STATUS),
    BATCH,
    FIGURES,
]  # fmt: skip
BIG = st.sampled_from([2**31, 2**53, -(2**63), 2**63, 2**64 - 1])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | BIG | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def decodes_or_is_refused(kind: type[Message], raw: bytes) -> None:
    for decode in (kind.decode, decode_status):
        with suppress(BadMessage):  # nothing else may escape
            message = decode(raw)
            assert type(message).decode(message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
@given(data=st.data())
def test_any_bytes_and_any_json_decode_or_are_a_bad_message(message: Message, data: st.DataObject) -> None:
    decodes_or_is_refused(type(message), data.draw(st.binary() | JSON.map(orjson.dumps)))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
@given(data=st.data())
def test_a_message_with_anything_in_a_field_decodes_or_is_a_bad_message(message: Message, data: st.DataObject) -> None:
    fields = orjson.loads(message.encode())
    for name in data.draw(st.sets(st.sampled_from(sorted(fields)), min_size=1, max_size=3)):
        if data.draw(st.booleans()):
            fields[name] = data.draw(JSON | st.lists(st.lists(JSON, min_size=3, max_size=5), max_size=3))
        else:
            del fields[name]
    decodes_or_is_refused(type(message), orjson.dumps(fields))


def test_one_unreadable_record_of_the_cycles_costs_only_itself() -> None:
    assert list(readable([None, FIGURES.encode(), b"not JSON", FIGURES.encode()])) == [FIGURES, FIGURES]
