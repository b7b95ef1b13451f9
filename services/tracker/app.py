"""The Faust app: pm.files.status through the tracker; the only module that imports faust.

Faust acknowledges what failed or was cut by a stop, so acknowledging is done by hand, after the tables' changes and
the commands are durable, and no exception unwinds the agent (docs/decisions/0003-faust-for-state.md).
"""

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from time import time
from typing import Any

import faust

from services.tracker.progress import GROUP, Progress
from services.tracker.publisher import commanded
from services.tracker.settings import TrackerSettings
from services.tracker.tracker import FileProcessingTracker
from shared.crash import or_leave
from shared.health import Heartbeat
from shared.kafka.produce import Outgoing, Producer
from shared.messages import BadMessage, FileStatus, Settle, SinkPosition, decode_status
from shared.sink_positions import SinkPositions
from shared.topics import FILES_STATUS
from shared.watch import Watch

log = logging.getLogger(__name__)
FLUSH_S = 0.2
LINGER_S = 0.05
"""For more messages of a partition: sent one by one, they cost more than all that is decided of them."""
DURABLE_S = 60.0
"""For a change of a table; then the process leaves, and reads again what it did not acknowledge."""
UNKNOWN_SYSTEM = ("mysql",)
"""What files of a system wait for that was taken out of the configuration."""


class PendingAcks:
    """What was decided and is not known to be durable yet."""

    def __init__(self, producer: Producer) -> None:
        """Commands go by a producer of our own: Faust's makes the agent wait, now and then for ever."""
        self.producer = producer
        self.commands: list[Outgoing] = []
        self.futures: list[Awaitable[Any]] = []
        """Changes of the tables, on their way to the changelogs."""
        self.events: list[faust.EventT[Any]] = []

    async def acknowledge(self) -> None:
        """Wait for all that was decided so far, then acknowledge the events that caused it.

        Raises:
            Unreachable: Kafka did not take a command.
            TimeoutError: a change of a table is not durable in time.
        """
        commands, self.commands = self.commands, []
        futures, self.futures = self.futures, []
        events, self.events = self.events, []
        await asyncio.to_thread(self.producer.deliver, *commands)
        await asyncio.wait_for(asyncio.gather(*futures), DURABLE_S)
        for event in events:
            event.ack()


def durable_table(pending: PendingAcks) -> type[faust.Table[Any, Any]]:
    """A table that hands out the delivery of its changes: Faust's own lets them go unseen."""

    class Table(faust.Table[Any, Any]):
        def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
            future = super().send_changelog(*args, **kwargs)
            pending.futures.append(future)
            return future

    return Table


def build(watch: Watch, own: TrackerSettings, heartbeat: Heartbeat) -> faust.App:
    """The app, not yet started; its topics must exist."""
    settings = watch.settings
    pending = PendingAcks(Producer(settings.kafka.bootstrap_servers))
    app = faust.App(
        GROUP,
        broker=[f"kafka://{broker}" for broker in settings.kafka.bootstrap_servers.split(",")],
        Table=durable_table(pending),
        topic_partitions=FILES_STATUS.partitions,
        topic_disable_leader=True,
        topic_allow_declare=True,
        store="memory://",
        datadir="/tmp/pmflow-tracker",  # noqa: S108 - Faust wants one; a memory store writes nothing
        web_enabled=False,
        broker_session_timeout=own.session_timeout_s,
        broker_heartbeat_interval=own.session_timeout_s / 3,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        producer_linger=LINGER_S,
    )
    statuses = app.topic(FILES_STATUS.name, key_serializer="raw", value_serializer="raw")
    files = app.Table("files", key_type=str, value_type=None, partitions=FILES_STATUS.partitions)
    positions = app.Table("positions", key_type=str, value_type=int, partitions=FILES_STATUS.partitions)
    tracker = FileProcessingTracker(partial(complete_on, watch), files, SinkPositions(positions))
    progress = Progress(settings.kafka.bootstrap_servers, heartbeat)

    @app.agent(statuses)
    async def track(stream: Any) -> None:
        with or_leave("track files"):
            async for event in stream.noack().events():
                for settle in decided(tracker, event.value, time()):
                    log.info("file through", extra={"file": settle.file_id, "to": settle.to})
                    pending.commands.append(commanded(settle))
                pending.events.append(event)

    @app.on_partitions_assigned.connect
    @app.on_partitions_revoked.connect
    async def reassigned(*_: Any, **__: Any) -> None:
        tracker.recovered()

    @files.on_recover
    @positions.on_recover
    async def recovered(*_: Any) -> None:
        tracker.recovered()

    @app.timer(own.look_s)  # type: ignore[untyped-decorator]
    async def look() -> None:
        with or_leave("look for progress"):
            await asyncio.to_thread(progress.look, assigned(app))
            await asyncio.to_thread(watch.look)  # the sinks a system waits for may change

    @app.timer(FLUSH_S)  # type: ignore[untyped-decorator]
    async def acknowledge() -> None:
        with or_leave("acknowledge"):
            await pending.acknowledge()

    return app


def assigned(app: faust.App) -> set[int]:
    """The partitions of the ledger that are ours."""
    return {place.partition for place in app.consumer.assignment() if place.topic == FILES_STATUS.name}


def complete_on(watch: Watch, name: str) -> tuple[str, ...]:
    """The sinks that files of a system wait for now."""
    system = watch.settings.system(name)
    return system.complete_on if system else UNKNOWN_SYSTEM


def decided(tracker: FileProcessingTracker, value: bytes | None, now_s: float) -> list[Settle]:
    """What the tracker makes of a record of the ledger."""
    if value is None:  # an entry that was deleted
        return []
    try:
        told = decode_status(value)
    except BadMessage as error:
        log.error("not a status, passed over", extra={"reason": str(error)})  # noqa: TRY400 - says it all
        return []
    match told:
        case FileStatus():
            return list(tracker.told(told, now_s))
        case SinkPosition():
            return list(tracker.moved(told, now_s))
        case _:  # what a sink set aside is counted in the cycle's figures
            return []
