"""CyclePublisher: reads the ledger beside Faust, publishes cycle figures, and repeats unanswered commands."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from threading import Event
from time import time
from typing import Any, get_args

from services.tracker import metrics
from services.tracker.cycles import Cycle, CycleStatistics
from services.tracker.leases import Leases
from services.tracker.states import State
from shared.cycle_figures import CycleFigures
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, contained_records
from shared.kafka.produce import Outgoing, Producer, about_element
from shared.kafka.record import Record
from shared.ledger import OffsetGap, decode_status
from shared.messages import BadMessage, FileStatus, Settle
from shared.settings import System
from shared.topics import CYCLES, FILES_SETTLE, FILES_STATUS

log = logging.getLogger(__name__)
PUBLISHER_READER = "tracker's second reader"
"""Names this reader in dead letters."""
LOGGED_ELEMENTS = 20
"""Largest number of missing elements in a log line."""


@dataclass
class CyclePublisher:
    """Publishes and logs the figures of a cycle when it closes and whenever they change. Owned by one thread.

    It keeps no state but the ledger: after a restart it reads the ledger again and computes the same figures. Several
    trackers publish the same figures under the same key.
    """

    statistics: CycleStatistics
    reader: Consumer
    """Reads the whole ledger from its beginning."""
    unread: dict[int, int]
    """Partition -> its end at the start. Until all of it is read, figures would be outdated."""
    producer: Producer
    expected: Callable[[str], Collection[str]]
    """System -> the elements in its inventory; called whenever a cycle closes."""
    leases: Leases
    systems: Callable[[], Collection[System]]
    """Returns the systems that are currently configured."""
    heartbeat: Heartbeat
    published: dict[tuple[str, int], CycleFigures] = field(default_factory=dict)
    """System and end of the period -> figures published by this tracker or an earlier one."""
    newest_s: dict[str, int] = field(default_factory=dict)
    """System -> end of the period of its newest published cycle."""
    budget: DefectBudget = field(default_factory=DefectBudget)
    is_known: Callable[[Record], bool] = lambda _: False
    """Returns True for a record that an earlier tracker set aside after a defect here."""

    def run(self, stop: Event) -> None:
        """Publishes until stopped."""
        letters = DeadLetters(self.producer, reader=PUBLISHER_READER)
        take = contained_records(self._take, letters, self.budget, is_known=self.is_known)
        publish = Contained(self._publish, nothing_to_renew, _report, self.budget, str, NO_RECORDS_FAULT)
        while not stop.is_set():
            records = self.reader.poll(5000, 1.0)
            take(records)
            for record in records:
                if record.offset + 1 >= self.unread.get(record.partition, record.offset + 2):
                    del self.unread[record.partition]
            if not self.unread:
                publish(self.statistics.due(time()))
                self._count_states()
                self._command()
            self.heartbeat.progress()
        self.reader.close()

    def _take(self, records: Sequence[Record]) -> None:
        """Takes records in order; taking some again changes nothing. The Faust app sets invalid ones aside."""
        for record in records:
            if record.value is None:
                self.statistics.on_removed(record.key_text)
                continue
            try:
                found = decode_status(record.value)
            except BadMessage:
                log.debug("invalid ledger record skipped")
                continue
            self.statistics.on_record(found, time())
            self.leases.on_record(found)
            if isinstance(found, OffsetGap):
                self._report_gap(found)

    def _report_gap(self, gap: OffsetGap) -> None:
        """Names the files that lie in a gap; those that wait for the sink are collected again by themselves."""
        files = sorted(file.file_id for file in self.statistics.files_in(gap))
        where = {"topic": gap.topic, "partition": gap.partition, "expected": gap.first, "found": gap.next_offset}
        fix = "pmflow backfill --system SYSTEM --files ID,..."
        log.error("files not stored, gap in the topic", extra={"sink": gap.sink, **where, "files": files, "fix": fix})

    def _publish(self, cycles: Sequence[Cycle]) -> None:
        for figures in self.statistics.figures_of(cycles, self.expected, time()):
            before = self.published.get((figures.system, figures.end_s))
            if before is None or replace(before, told_s=figures.told_s) != figures:
                key = f"{figures.system}/{figures.end_s}"
                self.producer.deliver(Outgoing(CYCLES.name, 0, key, figures.encode()))
                log.info("cycle figures changed" if before else "cycle closed", extra=log_fields(figures))
                self.published[figures.system, figures.end_s] = figures
            self._count(figures)

    def _command(self) -> None:
        repeated = list(self.leases.ended(time()))
        for settle in repeated:
            log.warning("file not moved yet, command repeated", extra={"file": settle.file_id, "to": settle.to})
        metrics.COMMANDS_AGAIN.inc(len(repeated))
        lost = list(self.leases.lost(time()))
        for status in lost:
            log.error("file to be collected again", extra={"file": status.file_id, "reason": status.reason})
        self.producer.deliver(*(outgoing(message) for message in chain[Settle | FileStatus](repeated, lost)))
        for state, files in self.leases.counts().items():
            metrics.TRACKED.labels(state).set(files)
        not_moved = self.leases.not_moved()
        for system in {*not_moved, *(system.name for system in self.systems())}:
            metrics.NOT_MOVED.labels(system).set(not_moved[system])

    def _count_states(self) -> None:
        for system in self.systems():
            states = self.statistics.states(system.name, system.complete_on)
            for state in get_args(State):
                metrics.FILES_BY_STATE.labels(system.name, state).set(states[state])

    def _count(self, figures: CycleFigures) -> None:
        """Sets the metrics if this is the newest cycle; later changes of older ones are in `pmflow cycles`."""
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


def _report(cycle: Cycle, defect: Defect) -> None:
    """Reports a cycle without figures. No record is to blame; the cycle is tried again when it changes."""
    log.error("cycle has no figures", extra={"cycle": f"{cycle[0]}/{cycle[1]}", "reason": defect.reason})


def outgoing(message: Settle | FileStatus) -> Outgoing:
    """Returns a command or a status as a record for the partition of its element."""
    if isinstance(message, Settle):
        return about_element(FILES_SETTLE, message.status.element, message.file_id, message.encode())
    return about_element(FILES_STATUS, message.element, message.file_id, message.encode())


def log_fields(figures: CycleFigures) -> dict[str, Any]:
    """Returns the figures as the fields of a log line, which names only the first missing elements."""
    missing = {"missing": figures.missing[:LOGGED_ELEMENTS], "missing_elements": len(figures.missing)}
    return {**asdict(figures), **missing, **figures.rates}
