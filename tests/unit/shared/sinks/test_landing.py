"""Batches that are refused in part: every value is stored or set aside once, and positions move in order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Hopeless
from shared.kafka.record import Record
from shared.messages import CounterBatch
from shared.sinks.landing import (
    MOST_FAILED_WRITES,
    Piece,
    RefusedBatches,
    RefusedCounters,
    fitting,
    land,
    pieces_of,
    refuse,
    split_counters,
)
from shared.topics import MESSAGE_MAX_BYTES

POISON = -1
Values = set[tuple[str, str, str, int]]


def file_id(offset: int) -> str:
    return f"{offset:016x}"


def piece(offset: int, counters: list[str], rows: list[list[Any]]) -> Piece:
    batch = CounterBatch(
        system="s", file_id=file_id(offset), element="e", group="G", job="", gp_s=900, end_s=900,
        end_offset_min=0, ver=1, counters=counters, rows=rows,
    )  # fmt: skip
    return Piece(Record("t", 0, offset, b"e", batch.encode(), 1.0), batch)


def values(batches: Sequence[CounterBatch]) -> list[tuple[str, str, str, int]]:
    return [
        (b.file_id, row[0], c, v) for b in batches for row in b.rows for c, v in zip(b.counters, row[2:], strict=True)
    ]


class Database:
    """A database that refuses rows with the poison value, and the counter `unknown`."""

    def __init__(self) -> None:
        self.stored: list[CounterBatch] = []
        self.positions: list[int] = []
        self.aside: list[tuple[CounterBatch, str]] = []

    def write(self, pieces: Sequence[Piece]) -> None:
        batches = [p.batch for p in pieces if p.batch is not None]
        if any("unknown" in batch.counters for batch in batches):
            raise RefusedCounters({("s", "G", "unknown"): "not allowed"})
        if any(POISON in row for batch in batches for row in batch.rows):
            raise Hopeless("poison")
        self.stored += batches
        self.positions.append(pieces[-1].next_offset)

    def set_aside(self, _record: Record, content: bytes, reason: str) -> None:
        self.aside.append((CounterBatch.decode(content), reason))


cells = st.sampled_from([0, 1, 2, POISON])
messages = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(cells, cells), min_size=1, max_size=6)), min_size=1, max_size=5
)


@given(sent=messages)
def test_a_poison_row_and_a_refused_counter_cost_only_themselves(
    sent: list[tuple[bool, list[tuple[int, int]]]],
) -> None:
    pieces = [
        piece(at, ["a", "unknown" if strange else "b"], [[f"o{n}", 0, *row] for n, row in enumerate(rows)])
        for at, (strange, rows) in enumerate(sent)
    ]
    database = Database()
    land(database.write, pieces, database.set_aside)
    poisoned = {
        (file_id(at), f"o{n}") for at, (strange, rows) in enumerate(sent) for n, row in enumerate(rows)
        if POISON in (row[:1] if strange else row)
    }  # fmt: skip
    everything = values([p.batch for p in pieces if p.batch is not None])
    stored, aside = values(database.stored), values([batch for batch, _ in database.aside])
    assert sorted(stored + aside) == sorted(everything)
    assert set(aside) == {v for v in everything if v[:2] in poisoned or v[2] == "unknown"}
    assert database.positions == sorted(database.positions)
    assert database.positions[-1] == len(sent)


def test_a_message_refused_as_a_whole_costs_one_write_and_one_letter() -> None:
    rows = [[f"o{n}", 0, n] for n in range(4_000)]
    good, bad = piece(0, ["a"], rows), piece(1, ["a"], rows)
    writes, told = 0, list[tuple[bytes, str]]()

    def write(pieces: Sequence[Piece]) -> None:
        nonlocal writes
        writes += 1
        refuse([p.batch for p in pieces if p.batch], lambda batch: "too early" if batch is bad.batch else "")

    land(write, [good, bad], lambda _, content, reason: told.append((content, reason)))
    assert writes == 2
    assert told == [(bad.record.value, "too early")]


def test_a_message_whose_rows_are_all_refused_costs_a_bounded_number_of_writes() -> None:
    rows = [[f"o{n}", 0, POISON] for n in range(4_000)]
    database, failed = Database(), 0

    def write(pieces: Sequence[Piece]) -> None:
        nonlocal failed
        try:
            database.write(pieces)
        except Hopeless:
            failed += 1
            raise

    land(write, [piece(0, ["a"], rows), piece(1, ["a"], [["o", 0, 1]])], database.set_aside)
    splits = MOST_FAILED_WRITES  # of the bad message; one more part fails, then each part that was still to come
    assert failed == 1 + splits + 1 + 8
    assert {reason for _, reason in database.aside} == {"poison"}
    assert sum(len(batch.rows) for batch, _ in database.aside) == 4_000
    assert [batch.rows for batch in database.stored] == [[["o", 0, 1]]]
    assert database.positions[-1] == 2


def test_a_part_that_grows_beyond_what_a_topic_takes_is_split() -> None:
    """`1e15` is written with 18 characters by orjson."""
    rows = [[f"o{n}", 0, 1, *[1e15] * 50] for n in range(3_300)]
    told: list[bytes] = []
    one = piece(0, ["unknown", *(f"c{n}" for n in range(50))], rows)
    whole = replace(one, starts=False)
    assert len(whole.contents) > 1
    for content in whole.contents:
        assert len(content) <= MESSAGE_MAX_BYTES
        told.append(content)
    assert [row for content in told for row in CounterBatch.decode(content).rows] == rows


def test_a_row_too_large_for_a_topic_keeps_its_bytes_as_they_came() -> None:
    one = piece(0, ["a"], [["o", 0, "x" * (MESSAGE_MAX_BYTES + 1)], ["p", 0, 1]])
    assert replace(one, starts=False).contents == [one.record.value]


def test_a_message_set_aside_whole_keeps_its_bytes() -> None:
    told: list[bytes] = []
    one = piece(7, ["a"], [["o", 0, POISON]])
    land(Database().write, [one], lambda _, content, __: told.append(content))
    assert told == [one.record.value]


def test_a_position_that_is_refused_alone_is_an_error() -> None:
    def write(_: Sequence[Piece]) -> None:
        raise Hopeless("read-only")

    told: list[str] = []
    alone = replace(piece(0, ["a"], [["o", 0, 1]]), batch=None)
    with pytest.raises(Hopeless, match="read-only"):
        land(write, [alone], lambda _, __, reason: told.append(reason))
    assert told == []


def test_refused_counters_are_set_aside_with_their_record_names_and_reasons() -> None:
    counters = [f"c{n:02}" for n in range(11)]
    one, told, written = piece(3, counters, [["o", 0, *range(11)]]), list[tuple[Record, str]](), list[Piece]()

    def write(pieces: Sequence[Piece]) -> None:
        written[:] = pieces
        if any(p.batch for p in pieces):
            raise RefusedCounters({("s", "G", name): "too wide" if name > "c05" else "no column" for name in counters})

    land(write, [one], lambda record, _, reason: told.append((record, reason)))
    names = ", ".join(counters[:10])
    assert told == [(one.record, f"counters {names}: no column; too wide")]
    assert written == [replace(one, batch=None, starts=False)]


def test_a_row_of_refused_values_too_large_for_a_topic_keeps_its_bytes() -> None:
    told: list[bytes] = []
    one = piece(0, ["a", "unknown"], [["o", 0, 1, "x" * (MESSAGE_MAX_BYTES + 1)]])
    land(Database().write, [one], lambda _, content, __: told.append(content))
    assert told == [one.record.value]


def test_batches_and_counters_that_are_refused_are_named_in_the_error() -> None:
    assert str(RefusedCounters({("s", "G", "a"): "y", ("s", "G", "b"): "x"})) == "2 counters refused: x; y"
    batch = piece(0, ["a"], [["o", 0, 1]]).batch
    assert batch is not None
    assert str(RefusedBatches([(batch, "y"), (batch, "x")])) == "2 batches refused: x; y"


def test_messages_are_halved_until_they_fit() -> None:
    batch = piece(0, ["a"], [[f"o{n}", 0, 1] for n in range(4)]).batch
    assert batch is not None
    whole, half = batch.encode(), replace(batch, rows=batch.rows[:2]).encode()
    assert fitting(batch, len(whole)) == [whole]
    assert fitting(batch, len(whole) - 1) == [half, replace(batch, rows=batch.rows[2:]).encode()]
    assert all(len(content) < len(half) for content in fitting(batch, len(half) - 1))
    assert len(fitting(batch, len(half) - 1)) == 4


def test_rows_without_a_value_of_the_chosen_counters_are_not_among_them() -> None:
    batch = piece(0, ["a", "b"], [["o", 0, None, 1], ["p", 1, 0, 2]]).batch
    assert batch is not None
    chosen, rest = split_counters(batch, {"a"})
    assert (chosen.counters, chosen.rows) == (["a"], [["p", 1, 0]])
    assert (rest.counters, rest.rows) == (["b"], [["o", 0, 1], ["p", 1, 2]])


def test_a_record_that_is_no_batch_is_set_aside_and_only_its_position_is_left() -> None:
    good = piece(0, ["a"], [["o", 0, 1]])
    bad, empty = Record("t", 0, 1, b"e", b"{}", 1.0), Record("t", 0, 2, b"e", None, 1.0)
    told: list[tuple[Record, bytes, str]] = []
    found = pieces_of([good.record, bad, empty], lambda *what: told.append(what))
    assert found == [good, Piece(bad, None), Piece(empty, None)]
    assert [(record, content) for record, content, _ in told] == [(bad, b"{}"), (empty, b"")]
    assert all(reason and reason != "None" for _, _, reason in told)
