"""Stores cycle statistics: the topic pm.cycles goes into the table pm_cycle, where the newest figures win.

Both sinks store them, each with its own SQL; the columns and the loop are the same.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any, Literal, Protocol, get_origin, get_type_hints

import orjson

from shared import metrics
from shared.backoff import backoff_s
from shared.cycle_figures import CycleFigures
from shared.defects import DefectBudget
from shared.errors import Hopeless, Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters, Refusal, contained_records
from shared.kafka.record import Record
from shared.messages import BadMessage
from shared.topics import CYCLES

log = logging.getLogger(__name__)
FIRST_CYCLE_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 10.0
FigureKind = Literal["integer", "number", "json"]
FIGURE_KINDS: Mapping[Any, FigureKind] = {int: "integer", float: "number", list: "json", dict: "json"}
CYCLE_COLUMNS: Mapping[str, FigureKind] = {
    name: FIGURE_KINDS[get_origin(hint) or hint]
    for name, hint in get_type_hints(CycleFigures).items()
    if name not in {"kind", "system", "end_s"}
}
"""The columns of pm_cycle besides its key, which is `system` and `ts` (end of the period)."""


def cycle_cells(figures: CycleFigures) -> dict[str, Any]:
    """Returns the cells of a row, by column."""
    found = {name: getattr(figures, name) for name in CYCLE_COLUMNS}
    return {n: orjson.dumps(value).decode() if CYCLE_COLUMNS[n] == "json" else value for n, value in found.items()}


def figures_of(system: str, end_s: int, row: Mapping[str, Any]) -> CycleFigures:
    """Returns the figures of a row that `cycle_cells` made."""
    found = {name: orjson.loads(row[name]) if kind == "json" else row[name] for name, kind in CYCLE_COLUMNS.items()}
    return CycleFigures(system=system, end_s=end_s, **found)


class CycleStore(Protocol):
    """The table of cycle statistics of a database."""

    def keep(self, figures: Sequence[CycleFigures]) -> None:
        """Stores figures durably; storing them again changes nothing.

        Raises:
            Unreachable: the database does not answer now.
            Hopeless: some of them can never be stored; then none is.
        """

    def renew(self) -> None:
        """Forgets everything it remembers of the database and closes its connection."""


@dataclass(frozen=True)
class CycleKeeper:
    """Reads pm.cycles and stores it, in one thread.

    Several processes may run one each; the topic has a single partition, so only one of them is active.
    """

    consumer: Consumer
    letters: DeadLetters
    store: CycleStore
    heartbeat: Heartbeat
    budget: DefectBudget = field(default_factory=DefectBudget)

    def run(self, stop: Event) -> None:
        """Runs until stopped."""
        metrics.DEAD_LETTERS.labels(CYCLES.name)  # exists with 0 from the start
        contained = contained_records(partial(self._handle, stop=stop), self.letters, self.budget, self.store.renew)
        self.consumer.subscribe([CYCLES.name])
        while not stop.is_set():
            records = self.consumer.poll(500, 1.0)
            contained(records)
            if records and not stop.is_set():
                self.consumer.commit({record.topic_partition: record.offset + 1 for record in records})
            self.heartbeat.progress()
        self.consumer.close()

    def _handle(self, records: Sequence[Record], stop: Event) -> None:
        figures, refused = [], []
        for record in records:
            try:
                figures.append((record, CycleFigures.decode(record.value or b"")))
            except BadMessage as reason:
                refused.append(Refusal(record, str(reason)))
        refused += self._keep(figures, stop)
        if refused:
            self.letters.write(refused)

    def _keep(self, figures: Sequence[tuple[Record, CycleFigures]], stop: Event) -> list[Refusal]:
        """Stores figures; returns those that the database can never store."""
        if not figures:
            return []
        try:
            self._store([cycle for _, cycle in figures], stop)
        except Hopeless as reason:
            middle = len(figures) // 2
            if not middle:
                return [Refusal(figures[0][0], str(reason))]
            return self._keep(figures[:middle], stop) + self._keep(figures[middle:], stop)
        return []

    def _store(self, figures: Sequence[CycleFigures], stop: Event) -> None:
        """Stores the figures, retrying until it succeeds or is stopped; the consumer stays in its group meanwhile."""
        failures = 0
        while not stop.is_set():
            try:
                self.store.keep(figures)
            except Unreachable as error:
                failures += 1
                wait_s = backoff_s(failures, FIRST_CYCLE_BACKOFF_S, LONGEST_BACKOFF_S)
                log.warning("cycles wait for the database", extra={"reason": str(error), "wait_s": wait_s})
                self.consumer.wait_paused(wait_s)
                self.heartbeat.progress()
            else:
                log.info("cycle statistics stored", extra={"cycles": [f"{f.system}/{f.end_s}" for f in figures]})
                return
