"""CyclePublisher: reads the ledger beside Faust, publishes cycle figures, and gives what nobody else gives.

That is: commands that were not answered, and the last statuses of files that are gone.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from threading import Event
from time import monotonic, time
from typing import Any, Final, get_args

from services.tracker import metrics
from services.tracker.cycles import Cycle, CycleStatistics
from services.tracker.ended import ended_in_period_before
from services.tracker.leases import Leases
from services.tracker.postponed import PostponedFiles
from services.tracker.states import State
from shared.cycle_figures import CycleFigures
from shared.defects import NO_RECORDS_FAULT, Contained, Defect, DefectBudget, nothing_to_renew
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, contained_records
from shared.kafka.produce import Outgoing, Producer, about_element, command_of
from shared.kafka.record import Record
from shared.ledger import OffsetGap, decode_status
from shared.messages import BadMessage, FileStatus, Settle, digest_of
from shared.settings import System
from shared.topics import CYCLES, FILES_STATUS

log = logging.getLogger(__name__)
PUBLISHER_READER = "tracker's second reader"
"""Names this reader in dead letters."""
FIGURES_EVERY_S: Final = 5.0
"""Time between two looks at the cycles: figures are published at most as often."""
FIGURES_EVERY_SHARE: Final = 0.05
"""Largest share of the time for looks, while the figures of many cycles change."""
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
    postponed: PostponedFiles
    systems: Callable[[], Collection[System]]
    """Returns the systems that are currently configured."""
    heartbeat: Heartbeat
    published: dict[Cycle, str] = field(default_factory=dict)
    """Cycle -> digest of its figures (`digest_of_figures`) that this tracker or an earlier one published."""
    newest_s: dict[str, int] = field(default_factory=dict)
    """System -> end of the period of its newest published cycle."""
    budget: DefectBudget = field(default_factory=DefectBudget)
    is_known: Callable[[Record], bool] = lambda _: False
    """Returns True for a record that an earlier tracker set aside after a defect here."""

    def run(self, stop: Event) -> None:
        """Publishes until stopped."""
        for why in metrics.AGAIN:
            metrics.COMMANDS_AGAIN.labels(why)  # exists with 0 from the start
        letters = DeadLetters(self.producer, reader=PUBLISHER_READER)
        take = contained_records(self._take, letters, self.budget, is_known=self.is_known)
        publish = Contained(self._publish, nothing_to_renew, _report, self.budget, str, NO_RECORDS_FAULT)
        look_at_s = 0.0
        while not stop.is_set():
            records = self.reader.poll(5000, 1.0)
            take(records)
            for record in records:
                if record.offset + 1 >= self.unread.get(record.partition, record.offset + 2):
                    del self.unread[record.partition]
            if not self.unread and (began_s := monotonic()) >= look_at_s:
                publish(self.statistics.due(time()))
                self._count_states()
                self._command()
                look_at_s = monotonic() + max(FIGURES_EVERY_S, (monotonic() - began_s) / FIGURES_EVERY_SHARE)
            self.heartbeat.progress()
        self.reader.close()

    def _take(self, records: Sequence[Record]) -> None:
        """Takes records in order; taking some again changes nothing. The Faust app sets invalid ones aside."""
        now_s = time()
        for record in records:
            if record.value is None:
                self.statistics.on_removed(record.key_text)
                self._on_removed(record.key_text)
            elif ended_in_period_before(record.value, now_s - self.statistics.keep_s):
                self._on_removed(record.key_text)  # history, for all that is kept here
            else:
                self._take_value(record.value, now_s)

    def _on_removed(self, file_id: str) -> None:
        self.leases.on_removed(file_id)
        self.postponed.on_removed(file_id)

    def _take_value(self, value: bytes, now_s: float) -> None:
        try:
            found = decode_status(value)
        except BadMessage:
            log.debug("invalid ledger record skipped")
            return
        self.statistics.on_record(found, now_s)
        self.leases.on_record(found)
        if isinstance(found, FileStatus):
            self.postponed.on_status(found)
        if isinstance(found, OffsetGap):
            self._report_gap(found)

    def _report_gap(self, gap: OffsetGap) -> None:
        """Names the files that lie in a gap; those that wait for the sink are collected again by themselves."""
        files = sorted(self.statistics.files_in(gap))
        where = {"topic": gap.topic, "partition": gap.partition, "expected": gap.first, "found": gap.next_offset}
        fix = "pmflow backfill --system SYSTEM --files ID,..."
        log.error("files not stored, gap in the topic", extra={"sink": gap.sink, **where, "files": files, "fix": fix})

    def _publish(self, cycles: Sequence[Cycle]) -> None:
        for figures in self.statistics.figures_of(cycles, self.expected, time()):
            cycle, digest = (figures.system, figures.end_s), digest_of_figures(figures)
            before = self.published.get(cycle)
            if before != digest:
                key = f"{figures.system}/{figures.end_s}"
                self.producer.deliver(Outgoing(CYCLES.name, 0, key, figures.encode()))
                log.info("cycle figures changed" if before else "cycle closed", extra=log_fields(figures))
                self.published[cycle] = digest
            self._count(figures)
        for cycle in [cycle for cycle in self.published if cycle[1] <= time() - self.statistics.keep_s]:
            del self.published[cycle]

    def _command(self) -> None:
        repeated = list(self.leases.ended(time()))
        for settle in repeated:
            why: metrics.Again = "refused" if settle.status.moves_refused else "unanswered"
            extra = {"file": settle.file_id, "to": settle.to, "reason": why}
            log.warning("file not moved yet, command repeated", extra=extra)
            metrics.COMMANDS_AGAIN.labels(why).inc()
        lost = list(self.leases.lost(time()))
        for status in lost:
            log.error("file to be collected again", extra={"file": status.file_id, "reason": status.reason})
            metrics.COMMANDS_AGAIN.labels("gap").inc()
        gone = list(self.postponed.ended(time()))
        for status in gone:
            where = {"system": status.system, "element": status.endpoint, "path": status.path}
            log.warning("postponed file lost", extra={"file": status.file_id, **where, "reason": status.reason})
        metrics.POSTPONED_ENDED.inc(len(gone))
        self.producer.deliver(*(outgoing(message) for message in chain[Settle | FileStatus](repeated, lost, gone)))
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
        return command_of(message)
    return about_element(FILES_STATUS, message.element, message.file_id, message.encode())


def digest_of_figures(figures: CycleFigures) -> str:
    """Returns a digest that is the same for figures that differ only in the time at which they were computed."""
    return digest_of(replace(figures, told_s=0.0).encode())


def log_fields(figures: CycleFigures) -> dict[str, Any]:
    """Returns the figures as the fields of a log line, which names only the first missing elements."""
    missing = {"missing": figures.missing[:LOGGED_ELEMENTS], "missing_elements": len(figures.missing)}
    return {**asdict(figures), **missing, **figures.rates}
