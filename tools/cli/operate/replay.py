"""`pmflow replay`: stores a part of a counters topic in one sink again; correct values there do not change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import sleep
from typing import Annotated, Literal
from uuid import uuid4

import typer
from rich.progress import Progress

from services.ch_bridge.operate import clickhouse_of, server_client_of
from services.ch_bridge.operate import replay_sink as clickhouse_sink
from services.mysql_writer.operate import connect, mysql_of
from services.mysql_writer.operate import replay_sink as mysql_sink
from shared import topics
from shared.backoff import backoff_s
from shared.configuration.kafka import Kafka
from shared.defects import Contained, Defect, DefectBudget
from shared.errors import Unreachable
from shared.kafka import admin
from shared.kafka.consume import OffsetRange, read_range
from shared.kafka.dead_letters import SETTLED, retraction
from shared.kafka.produce import Producer
from shared.kafka.record import Record
from shared.messages import CounterBatch
from shared.settings import Settings, load
from shared.sinks.landing import Piece, land, pieces_of
from shared.sinks.sink import Sink
from tools.cli.operate.ready import require_ready
from tools.cli.output import say

RECORDS_PER_READ = 500
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
TimeRangeMs = tuple[int | None, int | None]
"""A time range in milliseconds since 1970, by the messages' timestamps; None: no limit on that side."""


@dataclass
class Replayed:
    """Counts of messages; a message of which any part is refused counts as refused."""

    read: int = 0
    stored: int = 0
    refused: int = 0


class RefusedMessages:
    """Collects messages that were refused, in whole or in part: they are reported and stay in the topic."""

    def __init__(self) -> None:
        self.origins: set[str] = set()

    def __call__(self, record: Record, _content: bytes, reason: str) -> None:
        self.origins.add(record.origin)
        say(f"refused: {record.origin}: {reason}", err=True)

    def after_defect(self, record: Record, defect: Defect) -> None:
        self(record, b"", defect.reason)


def offset_range(brokers: Kafka, topic: topics.Topic, times: TimeRangeMs, offset: int | None = None) -> OffsetRange:
    """Returns the offsets to read; messages that arrive later are not included."""
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
    brokers: Kafka,
    part: OffsetRange,
    on_progress: Callable[[int], object],
    on_stored: Callable[[Sequence[Record]], object] = lambda _: None,
) -> Replayed:
    """Reads with its own consumer group and writes without positions, so the services are not affected.

    Retries without limit while the database is unavailable. A message on which the code fails is refused, too.
    Calls `on_progress` with the number of messages read so far, and `on_stored` with those that were stored whole.
    """
    done = Replayed()
    refused = RefusedMessages()

    def store(records: Sequence[Record]) -> None:
        land(partial(_write, sink), pieces_of(records, refused), refused)

    contained = Contained(store, sink.renew, refused.after_defect, DefectBudget(), lambda record: record.origin)
    for records in read_range(brokers, f"pmflow-replay-{uuid4().hex[:8]}", part, RECORDS_PER_READ):
        done.read += len(records)
        contained([record for record in records if SETTLED not in record.headers])
        on_stored([r for r in records if r.origin not in refused.origins and SETTLED not in r.headers])
        done.refused = len(refused.origins)
        done.stored = done.read - done.refused
        on_progress(done.read)
    return done


def _write(sink: Sink, pieces: Sequence[Piece]) -> None:
    failures = 0
    while True:
        try:
            sink.write([piece.batch for piece in pieces if piece.batch is not None], {})
        except Unreachable as error:
            say(f"waiting for the database: {error}", err=True)
            failures += 1
            sleep(backoff_s(failures, FIRST_RETRY_S, LONGEST_RETRY_S))
        else:
            return


def take_back(producer: Producer, sink: str, letters: Sequence[Record]) -> None:
    """Removes dead letters from the ledger, so that the figures of the cycles count them as stored."""
    taken = []
    for letter in letters:
        content = letter.value or b""
        taken.append(retraction(sink, CounterBatch.decode(content).file_id, content, letter.partition))
    producer.deliver(*taken)


def sink_of(settings: Settings, name: str) -> Sink:
    """Returns the sink as its service uses it."""
    return mysql_sink(settings) if name == "mysql" else clickhouse_sink(settings)


def require_database(settings: Settings, sink: str) -> None:
    """Raises the client library's error if the database of a sink does not answer, as the replay would wait for it."""
    if sink == "mysql":
        connect(mysql_of(settings), None).close()
    else:
        server_client_of(clickhouse_of(settings)).close()


def _ms(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)


def replay_command(  # noqa: PLR0913 - the options of a command
    system: Annotated[str, typer.Option(help="system whose counters are read")],
    sink: Annotated[Literal["mysql", "clickhouse"], typer.Option(help="database to store them in")],
    since: Annotated[
        datetime | None, typer.Option("--from", help="read messages sent at or after this time, UTC")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="read messages sent before this time, UTC")] = None,
    offset: Annotated[
        int | None, typer.Option(help="read from this offset in each partition, instead of --from")
    ] = None,
    *,
    set_aside: Annotated[bool, typer.Option("--set-aside", help="read the dead letters instead of the topic")] = False,
) -> None:
    """Read a system's counters from Kafka again into a database; exit with 1 if any are refused."""
    settings = load()
    if system not in {known.name for known in settings.systems}:
        raise typer.BadParameter(f"no system {system!r}; configured: {', '.join(s.name for s in settings.systems)}")
    if since is not None and offset is not None:
        raise typer.BadParameter("--from and --offset exclude each other: give only one of them")
    topic = topics.counters_topic(system).dead_letters if set_aside else topics.counters_topic(system)
    require_ready(settings, topic)
    require_database(settings, sink)
    brokers = settings.kafka
    part = offset_range(brokers, topic, (_ms(since), _ms(until)), offset)
    producer = Producer(brokers)
    on_stored = partial(take_back, producer, sink) if set_aside else lambda _: None
    with Progress(transient=True) as progress:
        task = progress.add_task(f"{part.topic.name} to {sink}", total=part.messages)
        done = replay(
            sink_of(settings, sink), brokers, part, lambda read: progress.update(task, completed=read), on_stored
        )
    producer.close()
    say(f"{done.read} messages read, {done.stored} stored, {done.refused} refused")
    raise typer.Exit(1 if done.refused else 0)
