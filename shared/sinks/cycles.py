"""Stores cycle statistics: the topic pm.cycles goes into the table pm_cycle, where the newest figures win.

Both sinks store them, each with its own SQL; the columns and the loop are the same.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal, get_origin, get_type_hints

import orjson

from shared import metrics
from shared.backoff import backoff_s
from shared.cycle_figures import CycleFigures
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
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


@dataclass(frozen=True)
class CycleKeeper:
    """Reads pm.cycles and stores it, in one thread.

    Several processes may run one each; the topic has a single partition, so only one of them is active.
    """

    consumer: Consumer
    letters: DeadLetters
    keep: Callable[[Sequence[CycleFigures]], None]
    """Stores figures durably; storing them again changes nothing. Raises Unreachable."""
    heartbeat: Heartbeat

    def run(self, stop: Event) -> None:
        """Runs until stopped."""
        metrics.DEAD_LETTERS.labels(CYCLES.name)  # exists with 0 from the start
        self.consumer.subscribe([CYCLES.name])
        while not stop.is_set():
            records = self.consumer.poll(500, 1.0)
            if records and self._kept(list(self._readable(records)), stop):
                self.consumer.commit({record.topic_partition: record.offset + 1 for record in records})
            self.heartbeat.progress()
        self.consumer.close()

    def _readable(self, records: Sequence[Record]) -> Iterator[CycleFigures]:
        for record in records:
            try:
                yield CycleFigures.decode(record.value or b"")
            except BadMessage as reason:
                self.letters.set_aside(record, str(reason))

    def _kept(self, figures: Sequence[CycleFigures], stop: Event) -> bool:
        """Stores the figures, retrying until it succeeds; the consumer stays in its group meanwhile."""
        failures = 0
        while not stop.is_set():
            try:
                self.keep(figures)
            except Unreachable as error:
                failures += 1
                wait_s = backoff_s(failures, FIRST_CYCLE_BACKOFF_S, LONGEST_BACKOFF_S)
                log.warning("cycles wait for the database", extra={"reason": str(error), "wait_s": wait_s})
                self.consumer.wait_paused(wait_s)
                self.heartbeat.progress()
            else:
                log.info("cycle statistics stored", extra={"cycles": [f"{f.system}/{f.end_s}" for f in figures]})
                return True
        return False
