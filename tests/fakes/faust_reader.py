"""Hands out a topic with Faust, next to tables as the tracker has them: BROKER TOPIC LOG plain|fixed.

Appends a line to LOG for each record (`R partition offset`) and each gap that Faust believes to see (`GAP partition
first last`). The broker's answers about committed offsets arrive late, as from a coordinator under load.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiokafka  # type: ignore[import-untyped]
import faust
from faust.transport import consumer

from services.tracker.ledger_consumer import hand_out_every_record
from services.tracker.wiring import Worker

PARTITIONS = 12
LATE_S = 0.1


def answer_late() -> None:
    """Delays the answer about each partition's committed offset."""
    committed = aiokafka.AIOKafkaConsumer.committed

    async def late(self: Any, at: Any) -> Any:
        await asyncio.sleep(LATE_S)
        return await committed(self, at)

    aiokafka.AIOKafkaConsumer.committed = late


def tell_gaps(topic: str, log: Any) -> None:
    """Logs the gaps in a topic that Faust passes with its next commit."""
    add_gap = consumer.Consumer._add_gap

    async def told(self: Any, at: Any, first: int, last: int) -> None:
        if at.topic == topic:
            log.write(f"GAP {at.partition} {first} {last}\n")
        await add_gap(self, at, first, last)

    consumer.Consumer._add_gap = told  # type: ignore[method-assign, assignment]


def build_app(broker: str, name: str, log: Any) -> faust.App:
    """Returns an app that logs each record, changes tables with it, and acknowledges it later."""
    app = faust.App(
        name,
        broker=f"kafka://{broker}",
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        store="memory://",
        datadir=f"/tmp/{name}",
        web_enabled=False,
        broker_session_timeout=6,
        broker_heartbeat_interval=2,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
    )
    tables = [app.Table(table, key_type=str, value_type=int, partitions=PARTITIONS) for table in ("files", "positions")]
    events: list[Any] = []

    @app.agent(app.topic(name, key_serializer="raw", value_serializer="raw"))
    async def read(stream: Any) -> None:
        async for event in stream.noack().events():
            at = event.message
            log.write(f"R {at.partition} {at.offset}\n")
            for table in tables:
                table[f"{at.offset % 50}"] = at.offset
            events.append(event)

    @app.timer(0.2)  # type: ignore[untyped-decorator]
    async def acknowledge() -> None:
        done, events[:] = events[:], []
        for event in done:
            event.ack()

    return app


if __name__ == "__main__":
    broker, name, path, how = sys.argv[1:]
    log = Path(path).open("a", buffering=1)  # noqa: SIM115 - it ends with the process
    answer_late()
    tell_gaps(name, log)
    app = build_app(broker, name, log)
    if how == "fixed":
        hand_out_every_record(app)
    Worker(app, override_logging=False, redirect_stdouts=False).execute_from_commandline()
