"""The Faust app that passes pm.files.status through the tracker. This module and `wiring` are those that import faust.

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

from services.tracker.progress import GROUP, Progress
from services.tracker.publisher import outgoing
from services.tracker.settings import TrackerSettings
from services.tracker.tracker import FileProcessingTracker, TrackedFiles
from shared.crash import exit_on_error
from shared.health import Heartbeat
from shared.kafka.produce import Outgoing, Producer
from shared.ledger import LedgerRecord, OffsetGap, UnknownKind, decode_status
from shared.messages import BadMessage, FileStatus, Settle, SinkPosition
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
        self.commands: list[Outgoing] = []
        self.futures: list[Awaitable[Any]] = []
        """Deliveries of the tables' changes to their changelogs."""
        self.events: list[faust.EventT[Any]] = []

    async def acknowledge(self) -> None:
        """Waits until everything decided so far is durable, then acknowledges the events that caused it.

        Raises:
            Unreachable: Kafka did not take a command.
            TimeoutError: a change of a table was not durable in time.
        """
        commands, self.commands = self.commands, []
        futures, self.futures = self.futures, []
        events, self.events = self.events, []
        await asyncio.to_thread(self.producer.deliver, *commands)
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


def build_app(watch: Watch, own: TrackerSettings, heartbeat: Heartbeat) -> faust.App:
    """Returns the app, not started yet. Its topics must exist."""
    brokers = watch.settings.kafka.bootstrap_servers
    pending = PendingAcks(Producer(brokers))
    app = _bare_app(brokers, own, pending)
    files = app.Table("files", key_type=str, value_type=None, partitions=FILES_STATUS.partitions)
    positions = app.Table("positions", key_type=str, value_type=int, partitions=FILES_STATUS.partitions)
    tracker = FileProcessingTracker(partial(complete_on, watch), TrackedFiles(files), SinkPositions(positions))
    _track_statuses(app, tracker, pending)
    _reindex_after_recovery(app, tracker, files, positions)
    _check_regularly(app, own.look_s, watch, Progress(brokers, heartbeat))
    _acknowledge_regularly(app, pending)
    return app


def _bare_app(brokers: str, own: TrackerSettings, pending: PendingAcks) -> faust.App:
    return faust.App(
        GROUP,
        broker=[f"kafka://{broker}" for broker in brokers.split(",")],
        Table=durable_table(pending),
        topic_partitions=FILES_STATUS.partitions,
        topic_disable_leader=True,
        topic_allow_declare=True,
        store="memory://",
        datadir="/tmp/pmflow-tracker",  # noqa: S108 - Faust requires one; a memory store writes nothing
        web_enabled=False,
        broker_session_timeout=own.session_timeout_s,
        broker_heartbeat_interval=own.session_timeout_s / 3,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        producer_linger=LINGER_S,
    )


def _track_statuses(app: faust.App, tracker: FileProcessingTracker, pending: PendingAcks) -> None:
    statuses = app.topic(FILES_STATUS.name, key_serializer="raw", value_serializer="raw")

    @app.agent(statuses)
    async def track(stream: Any) -> None:
        with exit_on_error("track files"):
            async for event in stream.noack().events():
                for message in messages_for(tracker, event.value, time()):
                    report(message)
                    pending.commands.append(outgoing(message))
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
    """Passes a record of the ledger to the tracker; returns the commands and statuses that follow from it."""
    record = _decoded(value)
    match record:
        case FileStatus():
            return list(tracker.on_status(record, now_s))
        case SinkPosition():
            return list(tracker.on_position(record, now_s))
        case OffsetGap():
            return list(tracker.on_gap(record, now_s))
        case _:  # what a sink set aside counts in the figures of the cycle only
            return []


def _decoded(value: bytes | None) -> LedgerRecord | None:
    """Returns a record of the ledger; None for a deleted entry and for one that this version cannot read."""
    try:
        return decode_status(value) if value is not None else None
    except UnknownKind as error:
        log.debug("ledger record of another kind skipped", extra={"reason": str(error)})
    except BadMessage as error:
        log.error("invalid ledger record skipped", extra={"reason": str(error)})  # noqa: TRY400 - the reason suffices
    return None
