"""The Faust app that passes pm.files.status through the tracker.

Faust acknowledges an event also if its handling failed or was cut short by a stop. Therefore events are acknowledged by
hand, after the changes of the tables and the commands are durable, and no exception unwinds the agent
(docs/decisions/0003-faust-for-state.md).
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from functools import partial
from time import time
from typing import Any

import faust
from faust.types import TableT

from services.tracker.credentials import faust_credentials
from services.tracker.ledger_consumer import hand_out_every_record
from services.tracker.progress import GROUP, Progress
from services.tracker.publisher import outgoing
from services.tracker.settings import TrackerSettings
from services.tracker.tracker import FileProcessingTracker, TrackedFiles
from shared.configuration.kafka import Kafka
from shared.crash import exit_on_error
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget
from shared.errors import MustExit
from shared.health import Heartbeat
from shared.kafka.dead_letters import DeadLetters, Refusal
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record
from shared.ledger import OffsetGap, UnknownKind, decode_status
from shared.messages import BadMessage, FileStatus, Settle, SinkPosition
from shared.metrics import DEAD_LETTERS
from shared.sink_positions import SinkPositions
from shared.topics import FILES_STATUS
from shared.watch import Watch

log = logging.getLogger(__name__)
FLUSH_S = 0.2
LINGER_S = 0.05
"""Time that Faust's producer waits for more messages: sent one by one, they cost more than the decisions about them."""
DURABLE_S = 60.0
"""Longest time for a change of a table. Then the process exits, and reads again what it has not acknowledged."""
UNKNOWN_SYSTEM = ("mysql",)
"""The sinks that files of a system wait for after it was removed from the configuration."""


class PendingAcks:
    """Events whose effects are not known to be durable yet, and these effects."""

    def __init__(self, producer: Producer) -> None:
        """Creates an empty collection.

        Args:
            producer: sends the commands; not Faust's own, which sometimes makes an agent wait for ever.
        """
        self.producer = producer
        self.letters = DeadLetters(producer)
        self.commands: list[Outgoing] = []
        self.refusals: list[Refusal] = []
        """Events to set aside."""
        self.futures: list[Awaitable[Any]] = []
        """Deliveries of the tables' changes to their changelogs."""
        self.events: list[faust.EventT[Any]] = []

    def set_aside(self, event: faust.EventT[Any], reason: str, traceback: str = "") -> None:
        """Queues an event for the dead letters: it is acknowledged after it is there."""
        self.refusals.append(Refusal(record_of(event), reason, traceback=traceback))

    async def acknowledge(self) -> None:
        """Waits until everything decided so far is durable, then acknowledges the events that caused it.

        Raises:
            Unreachable: Kafka did not take a command.
            TimeoutError: a change of a table was not durable in time.
        """
        commands, self.commands = self.commands, []
        refusals, self.refusals = self.refusals, []
        futures, self.futures = self.futures, []
        events, self.events = self.events, []
        await asyncio.to_thread(self.producer.deliver, *commands)
        if refusals:
            await asyncio.to_thread(self.letters.write, refusals)
        await asyncio.wait_for(asyncio.gather(*futures), DURABLE_S)
        for event in events:
            event.ack()


def durable_table(pending: PendingAcks) -> type[faust.Table[Any, Any]]:
    """Returns a table class that reports the delivery of its changes, which Faust's own class ignores."""

    class Table(faust.Table[Any, Any]):
        def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
            future = super().send_changelog(*args, **kwargs)
            pending.futures.append(future)
            return future

    return Table


def record_of(event: faust.EventT[Any]) -> Record:
    """Returns the record of an event."""
    at = event.message
    return Record(at.topic, at.partition, at.offset, at.key or b"", at.value, at.timestamp or 0.0)


def build_app(watch: Watch, own: TrackerSettings, heartbeat: Heartbeat, budget: DefectBudget) -> faust.App:
    """Returns the app, not started yet. Its topics must exist."""
    DEAD_LETTERS.labels(FILES_STATUS.name)  # exists with 0 from the start
    brokers = watch.settings.kafka
    pending = PendingAcks(Producer(brokers))
    app = _bare_app(brokers, own, pending)
    hand_out_every_record(app)
    files = app.Table("files", key_type=str, value_type=None, partitions=FILES_STATUS.partitions)
    positions = app.Table("positions", key_type=str, value_type=int, partitions=FILES_STATUS.partitions)
    tracker = FileProcessingTracker(partial(complete_on, watch), TrackedFiles(files), SinkPositions(positions))
    _track_statuses(app, tracker, pending, budget)
    _reindex_after_recovery(app, tracker, files, positions)
    _check_regularly(app, own.look_s, watch, Progress(brokers, heartbeat))
    _acknowledge_regularly(app, pending)
    return app


def _bare_app(brokers: Kafka, own: TrackerSettings, pending: PendingAcks) -> faust.App:
    return faust.App(
        GROUP,
        broker=[f"kafka://{broker}" for broker in brokers.bootstrap_servers.split(",")],
        broker_credentials=faust_credentials(brokers.client()),
        Table=durable_table(pending),
        topic_partitions=FILES_STATUS.partitions,
        topic_disable_leader=True,
        topic_allow_declare=False,  # the topics exist; to declare them again would need the right to create
        store="memory://",
        datadir="/tmp/pmflow-tracker",  # noqa: S108 - Faust requires one; a memory store writes nothing
        web_enabled=False,
        broker_session_timeout=own.session_timeout_s,
        broker_heartbeat_interval=own.session_timeout_s / 3,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        producer_linger=LINGER_S,
    )


def _track_statuses(app: faust.App, tracker: FileProcessingTracker, pending: PendingAcks, budget: DefectBudget) -> None:
    statuses = app.topic(FILES_STATUS.name, key_serializer="raw", value_serializer="raw")

    def handle(events: Sequence[faust.EventT[Any]]) -> None:
        for event in events:
            if event.value is None:
                tracker.on_removed(record_of(event).key_text)
            try:
                messages = messages_for(tracker, event.value, time())
            except BadMessage as error:
                pending.set_aside(event, str(error))
                continue
            for message in messages:
                report(message)
                pending.commands.append(outgoing(message))

    def give_up(event: faust.EventT[Any], defect: Defect) -> None:
        pending.set_aside(event, defect.reason, defect.traceback)

    contained = Contained(
        handle, tracker.on_recovered, give_up, budget, lambda event: record_of(event).origin, NO_RECORDS_FAULT
    )

    @app.agent(statuses)
    async def track(stream: Any) -> None:
        with exit_on_error("track files"):
            async for event in stream.noack().events():
                await _handled(event, contained, pending)


async def _handled(event: faust.EventT[Any], contained: Contained[faust.EventT[Any]], pending: PendingAcks) -> None:
    try:
        contained([event])
    except MustExit:
        await pending.acknowledge()  # what was handled or set aside before
        raise
    pending.events.append(event)


def _reindex_after_recovery(app: faust.App, tracker: FileProcessingTracker, *tables: TableT[Any, Any]) -> None:
    async def recovered(*_: Any, **__: Any) -> None:
        tracker.on_recovered()

    app.on_partitions_assigned.connect(recovered)
    app.on_partitions_revoked.connect(recovered)
    for table in tables:
        table.on_recover(recovered)


def _check_regularly(app: faust.App, interval_s: float, watch: Watch, progress: Progress) -> None:
    @app.timer(interval_s)  # type: ignore[untyped-decorator]
    async def check() -> None:
        with exit_on_error("check progress and configuration"):
            await asyncio.to_thread(progress.check, assigned_partitions(app))
            await asyncio.to_thread(watch.look)  # the sinks that a system waits for may change


def _acknowledge_regularly(app: faust.App, pending: PendingAcks) -> None:
    @app.timer(FLUSH_S)  # type: ignore[untyped-decorator]
    async def acknowledge() -> None:
        with exit_on_error("acknowledge"):
            await pending.acknowledge()


def assigned_partitions(app: faust.App) -> set[int]:
    """Returns the partitions of the ledger that are assigned to this tracker."""
    return {at.partition for at in app.consumer.assignment() if at.topic == FILES_STATUS.name}


def complete_on(watch: Watch, name: str) -> tuple[str, ...]:
    """Returns the sinks that files of a system currently wait for."""
    system = watch.settings.system(name)
    return system.complete_on if system else UNKNOWN_SYSTEM


def report(message: Settle | FileStatus) -> None:
    """Logs a message that is about to be written."""
    match message:
        case Settle():
            log.info("file complete", extra={"file": message.file_id, "to": message.to})
        case FileStatus():
            fields = {"file": message.file_id, "system": message.system, "path": message.path, "reason": message.reason}
            log.error("file to be collected again", extra=fields)


def messages_for(tracker: FileProcessingTracker, value: bytes | None, now_s: float) -> Sequence[Settle | FileStatus]:
    """Passes a record of the ledger to the tracker; returns the commands and statuses that follow from it.

    Raises:
        BadMessage: not a valid record.
    """
    if value is None:  # a removed entry
        return []
    try:
        record = decode_status(value)
    except UnknownKind:
        return []
    match record:
        case FileStatus() as status:
            return list(tracker.on_status(status, now_s))
        case SinkPosition() as position:
            return list(tracker.on_position(position, now_s))
        case OffsetGap() as gap:
            return list(tracker.on_gap(gap, now_s))
        case _:  # what a sink set aside counts in the figures of the cycle only
            return []
