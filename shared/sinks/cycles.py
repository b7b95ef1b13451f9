"""The cycles' figures on their way into a database: pm.cycles into the table pm_cycle, where the newest ones win.

Both sinks keep them, each in its own SQL; the columns and the loop are the same, so they are here.
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
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 10.0
Kind = Literal["integer", "number", "json"]
KINDS: Mapping[Any, Kind] = {int: "integer", float: "number", list: "json", dict: "json"}
COLUMNS: Mapping[str, Kind] = {
    name: KINDS[get_origin(hint) or hint]
    for name, hint in get_type_hints(CycleFigures).items()
    if name not in {"kind", "system", "end_s"}
}
"""Of pm_cycle besides its key, `system` and `ts` (end of the period)."""


def cells(figures: CycleFigures) -> dict[str, Any]:
    """By column."""
    found = {name: getattr(figures, name) for name in COLUMNS}
    return {n: orjson.dumps(value).decode() if COLUMNS[n] == "json" else value for n, value in found.items()}


def figures_of(system: str, end_s: int, row: Mapping[str, Any]) -> CycleFigures:
    """What `cells` made of it."""
    found = {name: orjson.loads(row[name]) if kind == "json" else row[name] for name, kind in COLUMNS.items()}
    return CycleFigures(system=system, end_s=end_s, **found)


@dataclass(frozen=True)
class CycleKeeper:
    """One thread. Several processes may run it: one of them has the topic's only partition."""

    consumer: Consumer
    letters: DeadLetters
    keep: Callable[[Sequence[CycleFigures]], None]
    """Makes them durable; once more changes nothing. Raises Unreachable."""
    heartbeat: Heartbeat

    def run(self, stop: Event) -> None:
        """Until stopped."""
        metrics.DEAD_LETTERS.labels(CYCLES.name)  # zero from the start
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
        """For as long as it takes; the consumer stays in its group meanwhile."""
        failures = 0
        while not stop.is_set():
            try:
                self.keep(figures)
            except Unreachable as error:
                failures += 1
                wait_s = backoff_s(failures, FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
                log.warning("cycles wait for the database", extra={"reason": str(error), "wait_s": wait_s})
                self.consumer.wait_paused(wait_s)
                self.heartbeat.progress()
            else:
                log.info("cycles kept", extra={"cycles": [f"{f.system}/{f.end_s}" for f in figures]})
                return True
        return False
