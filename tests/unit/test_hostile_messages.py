"""Anything may be in a topic: each handler takes it or refuses it with a cause; nothing unexpected is raised."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ch_bridge import render as ch_render
from services.fetcher.intake.jobs import FetchJobs
from services.fetcher.intake.settle_jobs import SettleJobs
from services.fetcher.intake.waiting_files import FilesTogether, WaitingFiles
from services.fetcher.settings import FetcherSettings
from services.mysql_writer import render as mysql_render
from services.mysql_writer.cycles import CREATE_CYCLE_TABLE
from services.mysql_writer.ddl import CounterColumn
from services.scanner.ledger import LedgerFollower
from services.tracker.app import messages_for
from services.tracker.cycles import CycleStatistics
from services.tracker.leases import Leases
from services.tracker.tracker import FileProcessingTracker, TrackedFiles
from shared.configuration.kafka import Kafka
from shared.cycle_figures import CycleFigures, readable
from shared.defects import DefectBudget
from shared.errors import Hopeless, Unreachable
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.ledger import OffsetGap, decode_status
from shared.messages import (
    BadMessage,
    CounterBatch,
    FileFound,
    FileStatus,
    Message,
    SetAside,
    Settle,
    SinkPosition,
)
from shared.sink_positions import SinkPositions
from shared.sinks.cycles import cycle_cells, figures_of
from shared.sinks.landing import Piece, land, pieces_of, refuse
from shared.sinks.values import column_kind, value_kind
from shared.topics import CYCLES, FILES_FOUND, FILES_SETTLE, FILES_STATUS
from tools.cli.operate.cycles import cycle_table, cycles_table, latest_figures
from tools.cli.operate.errors import errors_table, failures, grouped, record_failures
from tools.cli.operate.ledger import ledger_of, ledger_records
from tools.cli.operate.quarantine import MESSAGE_KINDS, quarantined_items, records_set_aside
from tools.cli.operate.status import files_table
from tools.cli.operate.trace import hops_of

FOUND = FileFound(file_id="0" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3)
STATUS = FileStatus(**asdict(FOUND), stage="parsed", at_s=1.5, topic="pm.counters.4ga", partition=1, last_offset=2)
BATCH = CounterBatch(
    system="4ga", file_id="0" * 16, element="e1", group="g", job="", gp_s=900, end_s=900, end_offset_min=0, ver=1,
    counters=["a", "b"], rows=[["o", 0, 1, None], ["p", 1, "x", [1, 2]]], types={"a": "integer"}, units={"a": "bytes"},
)  # fmt: skip
POSITION = SinkPosition(sink="mysql", topic="pm.counters.4ga", partition=1, next_offset=9)
ASIDE = SetAside(
    sink="mysql", topic="t", partition=0, offset=1, file_id="0" * 16, element="e1", values=1, reason="", at_s=1.0,
    content="f" * 16,
)  # fmt: skip
GAP = OffsetGap(sink="mysql", topic="t", partition=0, first=1, next_offset=2, at_s=1.0)
FIGURES = CycleStatistics(lambda _: ("mysql",), 0, 1).figures("4ga", 900, ("e1",), 1.0)
COMMAND = Settle(file_id="0" * 16, to="done", status=STATUS)

NUMBERS = st.sampled_from([0, -1, 2**31, 2**53 + 1, -(2**63), 2**63, 2**64 - 1, 1e308, -0.0, 5e-324])
TEXTS = st.text(max_size=5) | st.sampled_from(["\0", "x" * 70_000, "4ga/../x", "`a`", "ts", "\u202e[bold]"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
DAMAGED = (
    b"", b"\0", b"\xff\xfe", b"null", b"[]", b'"x"', b'{"kind":[]}', b'{"kind":{}}', b'{"kind":"of-the-future"}',
    b"[" * 100_000, b'{"kind":' + b"[" * 100_000, b'{"a":' * 100_000, b'{"rows":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"x":"' + b"x" * 10_000_000 + b'"}', b'{"kind":"' + b"x" * 10_000_000 + b'"}', b'{"size":1e999}',
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, *messages: Message) -> bytes | None:
    """Draws a message with anything in some of its fields, or something else."""
    kind = draw(st.sampled_from(["changed", "changed", "changed", "json", "bytes", "nothing"]))
    if kind == "json":
        return orjson.dumps(draw(JSON))
    if kind == "bytes":
        return draw(st.binary(max_size=50))
    if kind == "nothing":
        return None
    fields: dict[str, Any] = orjson.loads(draw(st.sampled_from(messages)).encode())
    for name in draw(st.sets(st.sampled_from(sorted(fields)), max_size=3)):
        fields[name] = draw(JSON)
    if "rows" in fields and draw(st.booleans()):
        names = draw(st.lists(TEXTS, max_size=4))
        cells = st.lists(JSON, min_size=len(names), max_size=len(names))
        fields["counters"] = names
        fields["rows"] = [
            [draw(TEXTS), draw(st.sampled_from([0, 1])), *draw(cells)] for _ in range(draw(st.integers(0, 3)))
        ]
    return orjson.dumps(fields)


def record(value: bytes | None, offset: int = 0) -> Record:
    return Record("pm.files.status", 0, offset, b"\xffkey/with/parts", value, 1.0)


def mysql(batches: Sequence[CounterBatch]) -> None:
    """Renders batches as MysqlWriterWorker does, on columns that hold the values."""
    kept = [batch for batch in batches if batch.rows]
    refuse(kept, mysql_render.problem_of_batch)
    for chunk in mysql_render.chunks(kept):
        columns = {
            c: CounterColumn("t", c, column_kind(value_kind(values), chunk.types.get(c)))
            for c, values in chunk.counters.items()
        }
        ids = {(element, ldn): 1 for _, element, ldn, *_ in chunk.keys}
        assert all(isinstance(s, bytes) for s in mysql_render.upserts("t", columns, chunk, ids, 1_000))


def clickhouse(batches: Sequence[CounterBatch]) -> None:
    """Renders batches as ClickhouseBridge does, on columns that hold the values."""
    kept = [batch for batch in batches if batch.rows]
    refuse(kept, ch_render.problem_of_batch)
    for rows in ch_render.columnar_rows(kept):
        for column in rows.counters:
            kind, _ = rows.declared(column)
            assert len(rows.cells(column, column_kind(rows.value_kind(column), kind))) == len(rows.keys["ts"])
        assert rows.objects()


@pytest.mark.parametrize("render", [mysql, clickhouse])
@settings(max_examples=300, deadline=None)
@given(values=st.lists(damaged(BATCH), max_size=3))
def test_a_sink_stores_or_sets_aside_whatever_is_in_its_topic(render: Any, values: list[bytes | None]) -> None:
    aside: list[tuple[int, str]] = []
    passed: list[int] = []

    def write(pieces: Sequence[Piece]) -> None:
        render([piece.batch for piece in pieces if piece.batch is not None])
        passed.append(max(piece.next_offset for piece in pieces))

    def set_aside(found: Record, _content: bytes, reason: str) -> None:
        aside.append((found.offset, reason))

    records = [record(value, offset) for offset, value in enumerate(values)]
    if pieces := pieces_of(records, set_aside):
        land(write, pieces, set_aside)
        assert passed[-1] == len(values)
    assert all(reason for _, reason in aside)


@cache
def scanner() -> LedgerFollower:
    """Returns a scanner's view of the ledger that is fed by hand."""
    ledger = LedgerFollower(Kafka(bootstrap_servers="127.0.0.1:1"), cast("Producer", None), DefectBudget())
    ledger.reader.close()
    return ledger


def readers(values: Sequence[bytes | None]) -> None:
    """Passes records of the ledger through every handler of it."""
    tracker = FileProcessingTracker(lambda _: ("mysql",), TrackedFiles({}), SinkPositions())
    statistics, leases = CycleStatistics(lambda _: ("mysql",), 0, 1e12), Leases(lambda _: ("mysql",), 0)
    for value in values:
        with suppress(BadMessage):
            for message in messages_for(tracker, value, 2e9):
                assert type(message).decode(message.encode()) == message
        if value is None:
            statistics.on_removed("\ufffdkey/with/parts")
            continue
        with suppress(BadMessage):
            found = decode_status(value)
            statistics.on_record(found, 2e9)
            leases.on_record(found)
    assert all(Settle.decode(settle.encode()) for settle in leases.ended(2e9))
    for figures in statistics.closed(253_402_214_000.0, lambda _: ("e1",)):
        assert CycleFigures.decode(figures.encode()).end_s == figures.end_s
    statistics.states("4ga", ("mysql",))


@settings(max_examples=300, deadline=None)
@given(values=st.lists(damaged(STATUS, POSITION, ASIDE, GAP), max_size=4))
def test_the_handlers_of_the_ledger_take_anything(values: list[bytes | None]) -> None:
    readers(values)
    records = [record(value, offset) for offset, value in enumerate(values)]
    scanner()._take(records)
    scanner().in_flight("4ga")
    found = ledger_of(records)
    files_table(found.files.values())
    errors_table(grouped(failures(found.files.values(), found.set_aside.values())))
    list(hops_of(((r.origin, told) for r, told in ledger_records(records) if told), "e1"))


@settings(max_examples=200, deadline=None)
@given(values=st.lists(damaged(FIGURES), max_size=4))
def test_the_readers_of_cycles_take_anything(values: list[bytes | None]) -> None:
    known = latest_figures(readable(values))
    cycles_table(known)
    for figures in known:
        cycle_table(figures)
        assert figures_of(figures.system, figures.end_s, cycle_cells(figures)) == figures
        with suppress(Hopeless):
            mysql_render.datetime_number(figures.end_s)
    assert "system" in CREATE_CYCLE_TABLE


@settings(max_examples=200, deadline=None)
@given(value=damaged(FOUND, COMMAND))
def test_the_fetchers_jobs_are_made_or_refused(value: bytes | None) -> None:
    def publish(_: FileStatus) -> None: ...

    waiting = WaitingFiles(FilesTogether(1, 1), lambda _: 1)
    jobs = FetchJobs(lambda _: None, lambda system: system == "4ga", waiting, publish, None)  # type: ignore[arg-type]

    def answer(_: FileStatus, then: Callable[[], None]) -> None:
        then()

    def settle(commands: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        return [command.status for command in commands]

    commands = SettleJobs(FetcherSettings(), settle, answer, None)  # type: ignore[arg-type]
    for job_of in (jobs, commands):
        with suppress(BadMessage):
            job_of(record(value), lambda: None).work()


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(damaged(FOUND, COMMAND, STATUS, FIGURES, BATCH), max_size=3),
    reason=TEXTS,
    topic=st.sampled_from([FILES_FOUND, FILES_SETTLE, FILES_STATUS, CYCLES]),
)
def test_dead_letters_of_anything_are_listed(values: list[bytes | None], reason: str, topic: Any) -> None:
    letters = [
        Record(topic.dead_letters.name, 0, at, b"\xff", value, 1.0, {"reason": reason, "origin": f"t/0/{at}"})
        for at, value in enumerate(values)
    ]
    items = list(records_set_aside({STATUS.file_id: STATUS}, {topic.name: letters}))
    assert {item.what for item in items} <= {MESSAGE_KINDS[topic.name]}
    errors_table(grouped(record_failures(items)))
    assert len(list(quarantined_items([], {"4ga": letters}))) == len({letter.origin for letter in letters})


@pytest.mark.parametrize("raw", DAMAGED, ids=lambda raw: repr(raw[:12]))
def test_bytes_that_are_no_message_are_refused_with_a_cause_everywhere(raw: bytes) -> None:
    for kind in (FileFound, FileStatus, SinkPosition, SetAside, Settle, CounterBatch, CycleFigures):
        with pytest.raises(BadMessage) as refused:
            kind.decode(raw)
        assert str(refused.value)
    readers([raw])
    assert ledger_of([record(raw)]).files == {}
    assert list(readable([raw])) == []
    list(quarantined_items([], {"4ga": [record(raw)]}))
