"""Faust's consumer without its races around rebalances, in which records of a topic are never handed out.

Faust 0.15.3 loses records of applications with tables (docs/decisions/0030-faust-hands-out-every-record.md):

- After a recovery it lets records flow while it seeks to the committed offsets, and then empties its queues. What was
  queued is gone, and records of the old position that arrive after the seek look like a gap, which the commit passes.
- A fetch that is under way while it seeks moves the position that was just set.
- It hands the live set of active partitions to the fetching thread: emptied meanwhile, the set means all partitions.
- It does not seek where nothing was committed yet.
- If the seek takes too long, it continues without.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import faust
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP

from shared.crash import exit_on_error

SEEK_SHARE = 0.5
"""Longest time for a seek, as a share of `broker_request_timeout`, after which Faust would continue without."""


class LedgerConsumer(Consumer):
    """Seeks only while nothing is fetched and nothing flows, so that every record that is not committed follows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.no_fetch = asyncio.Event()
        self.no_fetch.set()

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets, or to the beginning where there is none.

        Ends the process if that takes too long: its next start reads again what is not committed.
        """
        try:
            await asyncio.wait_for(self._seek_to_committed(), SEEK_SHARE * self.app.conf.broker_request_timeout)
        except TimeoutError:
            with exit_on_error("seek to the committed offsets"):
                raise

    async def _seek_to_committed(self) -> None:
        await self.no_fetch.wait()
        await super().perform_seek()
        fresh = [at for at in self.assignment() if not self._read_offset[at] and not self._is_changelog_tp(at)]
        if fresh:
            await self._thread.seek_to_beginning(*(TopicPartition(*at) for at in fresh))

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seeks in the changelogs before their recovery."""
        await self.no_fetch.wait()
        await super().seek_wait(partitions)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        self.no_fetch.clear()
        try:
            return await super()._getmany(active_partitions and set(active_partitions), timeout)
        finally:
            self.no_fetch.set()


def hand_out_every_record(app: faust.App) -> None:
    """Makes an app use LedgerConsumer, and stops its flow until a recovery has ended and the seek is done.

    Must be called before the app's consumer is used.
    """
    app.transport.Consumer = LedgerConsumer  # type: ignore[misc]

    @app.on_rebalance_complete.connect  # sent before the seek; Faust resumes the flow after it
    async def hold(*_: Any, **__: Any) -> None:
        app.consumer.stop_flow()
        app.flow_control.suspend()
