"""CyclePublisher: follows the ledger beside Faust; publishes and logs each cycle's figures when it closes and when they
change, and gives the commands again whose lease ended.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from threading import Event
from time import time
from typing import Any, get_args

from services.tracker import metrics
from services.tracker.cycles import CycleStatistics
from services.tracker.leases import Leases
from services.tracker.states import State
from shared.cycle_figures import CycleFigures
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.produce import Outgoing, Producer, about_element
from shared.kafka.record import Record
from shared.messages import BadMessage, Settle, decode_status
from shared.settings import System
from shared.topics import CYCLES, FILES_SETTLE

log = logging.getLogger(__name__)
NAMES = 20


@dataclass
class CyclePublisher:
    """One thread. The ledger is its memory: a restart reads it again and comes to the same figures.

    Trackers beside each other publish the same figures under the same key.
    """

    statistics: CycleStatistics
    reader: Consumer
    """Of the whole ledger, from its beginning."""
    unread: dict[int, int]
    """Partition -> where it ended at the start: before all of that is read, figures would be of the past."""
    producer: Producer
    expected: Callable[[str], Collection[str]]
    """System -> the names of its inventory; asked at each closing."""
    leases: Leases
    systems: Callable[[], Collection[System]]
    """As they are configured now."""
    heartbeat: Heartbeat
    published: dict[tuple[str, int], CycleFigures] = field(default_factory=dict)
    """By this tracker or the one before it."""
    newest_s: dict[str, int] = field(default_factory=dict)
    """System -> end of its newest published cycle."""

    def run(self, stop: Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            for record in self.reader.poll(5000, 1.0):
                self._take(record)
                if record.offset + 1 >= self.unread.get(record.partition, record.offset + 2):
                    del self.unread[record.partition]
            if not self.unread:
                self._publish()
                self._count_states()
                self._command()
            self.heartbeat.progress()
        self.reader.close()

    def _take(self, record: Record) -> None:
        if record.value is None:
            self.statistics.untold(record.key_text)
            return
        try:
            told = decode_status(record.value)
        except BadMessage:
            log.debug("not a status, passed over")  # the tracker logs it as an error
            return
        self.statistics.told(told, time())
        self.leases.told(told)

    def _publish(self) -> None:
        for figures in self.statistics.closed(time(), self.expected):
            before = self.published.get((figures.system, figures.end_s))
            if before is None or replace(before, told_s=figures.told_s) != figures:
                key = f"{figures.system}/{figures.end_s}"
                self.producer.deliver(Outgoing(CYCLES.name, 0, key, figures.encode()))
                log.info("cycle figures changed" if before else "cycle closed", extra=line(figures))
                self.published[figures.system, figures.end_s] = figures
            self._count(figures)

    def _command(self) -> None:
        again = list(self.leases.ended(time()))
        for settle in again:
            log.warning("file not moved yet, commanded again", extra={"file": settle.file_id, "to": settle.to})
        metrics.COMMANDS_AGAIN.inc(len(again))
        self.producer.deliver(*(commanded(settle) for settle in again))
        for state, files in self.leases.counts().items():
            metrics.TRACKED.labels(state).set(files)

    def _count_states(self) -> None:
        for system in self.systems():
            states = self.statistics.states(system.name, system.complete_on)
            for state in get_args(State):
                metrics.FILES.labels(system.name, state).set(states[state])

    def _count(self, figures: CycleFigures) -> None:
        """The newest cycle's; one that changes later is in `pmflow cycles`."""
        if figures.end_s >= self.newest_s.get(figures.system, 0):
            self.newest_s[figures.system] = figures.end_s
            metrics.CYCLE_END.labels(figures.system).set(figures.end_s)
            metrics.CYCLE_EXPECTED.labels(figures.system).set(figures.expected)
            metrics.CYCLE_MISSING.labels(figures.system).set(len(figures.missing))
            metrics.CYCLE_LATE.labels(figures.system).set(figures.late)
            metrics.CYCLE_ERROR.labels(figures.system).set(figures.error)
            metrics.CYCLE_VALUES.labels(figures.system).set(figures.values)
            metrics.CYCLE_SUSPECT.labels(figures.system).set(figures.rates["suspect_share"])
            for stage, (_, _, longest_s) in ((s, q) for s, q in figures.latency_s.items() if q):
                metrics.CYCLE_LATENCY.labels(figures.system, stage).set(longest_s)


def commanded(settle: Settle) -> Outgoing:
    """A command, on its way to the partition of its element."""
    return about_element(FILES_SETTLE, settle.status.element, settle.file_id, settle.encode())


def line(figures: CycleFigures) -> dict[str, Any]:
    """For one log line: as many names as one can read."""
    missing = {"missing": figures.missing[:NAMES], "missing_elements": len(figures.missing)}
    return {**asdict(figures), **missing, **figures.rates}
