"""CyclePublisher: follows the ledger; publishes and logs each cycle's figures when it closes and when they change."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from threading import Event
from time import time
from typing import Any

from services.tracker.cycles import CycleStatistics
from shared import metrics
from shared.kafka import Consumer, KafkaProducer, Outgoing, usable
from shared.messages import BadMessage, CycleFigures, decode_status
from shared.topics import CYCLES

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
    producer: KafkaProducer
    expected: Callable[[], Mapping[str, Collection[str]]]
    """System -> the names of its inventory; asked at each closing."""
    published: dict[tuple[str, int], CycleFigures] = field(default_factory=dict)

    newest_s: dict[str, int] = field(default_factory=dict)
    """System -> end of its newest published cycle."""

    def run(self, stop: Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            messages = usable(self.reader.consume(5000, 1.0))
            for message in messages:
                self._take(message.value())
            if len(messages) < 5000:  # else: still behind, the figures would be of the past
                self._publish()
        self.reader.close()

    def _take(self, value: bytes | None) -> None:
        if value is None:
            return
        try:
            self.statistics.told(decode_status(value), time())
        except BadMessage:
            log.debug("not a status, passed over")  # the tracker logs it as an error

    def _publish(self) -> None:
        for figures in self.statistics.closed(time(), self.expected()):
            if self.published.get((figures.system, figures.end_s)) == figures:
                continue
            key = f"{figures.system}/{figures.end_s}"
            self.producer.deliver(Outgoing(CYCLES.name, 0, key, figures.encode()))
            self._count(figures)
            again = (figures.system, figures.end_s) in self.published
            self.published[figures.system, figures.end_s] = figures
            log.info("cycle figures changed" if again else "cycle closed", extra=line(figures))

    def _count(self, figures: CycleFigures) -> None:
        """The newest cycle's; one that changes later is in `pmflow cycles`."""
        if figures.end_s >= self.newest_s.get(figures.system, 0):
            self.newest_s[figures.system] = figures.end_s
            metrics.CYCLE_END.labels(figures.system).set(figures.end_s)
            metrics.CYCLE_EXPECTED.labels(figures.system).set(figures.expected)
            metrics.CYCLE_MISSING.labels(figures.system).set(len(figures.missing))


def line(figures: CycleFigures) -> dict[str, Any]:
    """For one log line: as many names as one can read."""
    return {**asdict(figures), "missing": figures.missing[:NAMES], "missing_elements": len(figures.missing)}
