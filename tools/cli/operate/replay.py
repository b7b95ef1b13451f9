"""`pmflow replay`: a part of a counters topic, once more into one sink; what is right there stays as it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import sleep
from typing import Annotated, Literal
from uuid import uuid4

import typer
from rich.progress import Progress

from services.ch_bridge.bridge import ClickhouseBridge
from services.ch_bridge.clickhouse import ClickHouse
from services.ch_bridge.settings import clickhouse_of
from services.ch_bridge.settings import rules_of as clickhouse_rules
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import mysql_of
from services.mysql_writer.settings import rules_of as mysql_rules
from services.mysql_writer.writer import MysqlWriterWorker
from shared import topics
from shared.backoff import backoff_s
from shared.errors import Unreachable
from shared.kafka import admin
from shared.kafka.consume import OffsetRange, read
from shared.kafka.dead_letters import retraction
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.messages import CounterBatch
from shared.settings import Settings, load
from shared.sinks.landing import Piece, land, pieces
from shared.sinks.loop import Sink

RECORDS_PER_READ = 500
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
TimeRangeMs = tuple[int | None, int | None]
"""From and to, ms since 1970 by the messages' own time; None is the topic's end on that side."""


@dataclass
class Replayed:
    """Counts of messages; one of which a part is refused is refused."""

    read: int = 0
    stored: int = 0
    refused: int = 0


class RefusedMessages:
    """Messages that were refused, in whole or in part: told of, and left where they are."""

    def __init__(self) -> None:
        self.origins: set[str] = set()

    def __call__(self, record: Record, _content: bytes, reason: str) -> None:
        self.origins.add(record.origin)
        typer.echo(f"refused: {record.origin}: {reason}", err=True)


def offset_range(brokers: str, topic: topics.Topic, times: TimeRangeMs, offset: int | None = None) -> OffsetRange:
    """What of the topic is meant; what comes later than now is not waited for."""
    since_ms, until_ms = times
    now = admin.ends(brokers, topic)
    last = admin.begins(brokers, topic, until_ms) if until_ms is not None else {}
    first = admin.begins(brokers, topic, since_ms)
    ends = {p: end if last.get(p, -1) < 0 else min(end, last[p]) for p, end in now.items()}
    if offset is not None:
        first = {p: max(offset, at) for p, at in first.items()}
    return OffsetRange(topic, {p: ends[p] if first[p] < 0 else first[p] for p in ends}, ends)


def replay(
    sink: Sink,
    brokers: str,
    part: OffsetRange,
    told: Callable[[int], object],
    landed: Callable[[Sequence[Record]], object] = lambda _: None,
) -> Replayed:
    """Read by a group of its own, write without positions: the services do not see it.

    While the database is away it is tried again for ever. `told` is given how many messages are read so far, `landed`
    those of which nothing was refused.
    """
    done = Replayed()
    refused = RefusedMessages()
    for records in read(brokers, f"pmflow-replay-{uuid4().hex[:8]}", part, RECORDS_PER_READ):
        done.read += len(records)
        land(partial(_write, sink), pieces(records, refused), refused)
        landed([record for record in records if record.origin not in refused.origins])
        done.refused = len(refused.origins)
        done.stored = done.read - done.refused
        told(done.read)
    return done


def _write(sink: Sink, pieces: Sequence[Piece]) -> None:
    failures = 0
    while True:
        try:
            sink.write([piece.batch for piece in pieces if piece.batch is not None], {})
        except Unreachable as error:
            typer.echo(f"waiting for the database: {error}", err=True)
            failures += 1
            sleep(backoff_s(failures, FIRST_RETRY_S, LONGEST_RETRY_S))
        else:
            return


def take_back(producer: Producer, sink: str, letters: Sequence[Record]) -> None:
    """Tell the ledger that dead letters are not set aside any more: the cycles' figures count them as stored."""
    taken = []
    for letter in letters:
        content = letter.value or b""
        taken.append(retraction(sink, CounterBatch.decode(content).file_id, content, letter.partition))
    producer.deliver(*taken)


def sink_of(settings: Settings, name: str) -> Sink:
    """The sink as its service has it."""
    if name == "mysql":
        return MysqlWriterWorker(Repository(mysql_of(settings), partial(mysql_rules, settings)))
    # Without tokens: what the server lost since it first took these inserts is to come back.
    return ClickhouseBridge(
        ClickHouse(clickhouse_of(settings), partial(clickhouse_rules, settings), drop_repeats=False)
    )


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)


def replay_command(  # noqa: PLR0913 - the options of a command
    system: Annotated[str, typer.Option(help="whose counters")],
    sink: Annotated[Literal["mysql", "clickhouse"], typer.Option(help="where to")],
    since: Annotated[datetime | None, typer.Option("--from", help="not before; when the message was sent, UTC")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="before; when the message was sent, UTC")] = None,
    offset: Annotated[int | None, typer.Option(help="from this offset in each partition, in place of --from")] = None,
    *,
    set_aside: Annotated[bool, typer.Option("--set-aside", help="what lies in the dead letters, in its place")] = False,
) -> None:
    """Read a system's counters from Kafka again into a sink; exit 1 when some are refused."""
    settings = load()
    if system not in {known.name for known in settings.systems}:
        raise typer.BadParameter(f"no system {system!r}; there are {', '.join(s.name for s in settings.systems)}")
    if since is not None and offset is not None:
        raise typer.BadParameter("--from or --offset, not both")
    topic = topics.counters(system)
    brokers = settings.kafka.bootstrap_servers
    part = offset_range(brokers, topic.dead_letters if set_aside else topic, (_ms(since), _ms(until)), offset)
    producer = Producer(brokers)
    landed = partial(take_back, producer, sink) if set_aside else lambda _: None
    with Progress(transient=True) as progress:
        task = progress.add_task(f"{part.topic.name} to {sink}", total=part.messages)
        done = replay(
            sink_of(settings, sink), brokers, part, lambda read: progress.update(task, completed=read), landed
        )
    producer.close()
    typer.echo(f"{done.read} messages read, {done.stored} stored, {done.refused} refused")
    raise typer.Exit(1 if done.refused else 0)
